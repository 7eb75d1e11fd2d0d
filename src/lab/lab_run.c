/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_run.h"

#include <errno.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"
#include "run/guest_run.h"
#include "store/lab/labs.h"
#include "store/vms.h"

#define TIMEOUT_USEC (60 * USEC_PER_SEC) /* until it is in the background */

int lab_run_command(Home *home, Operation *operation, const char *vm, const char *line,
                    Error *error) {
    const char *const argv[] = {
        "/bin/sh", "-c", "exec </dev/null >/dev/console 2>&1; /bin/sh -c \"$1\" &",
        "sh",      line, NULL};
    _cleanup_vm_row_ VmRow row = {0};
    int status = 0, r;
    if (!line)
        return 0;
    r = vms_find(home->store, vm, &row, error);
    if (r >= 0)
        r = guest_run(home, operation, &row, argv, TIMEOUT_USEC, &status, NULL, error);
    if (r >= 0 && status != 0)
        r = error_set(error, ERROR_FAILED, EIO, "its shell ended with exit status %d", status);
    return r;
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static const char *find_line(const LabRow *lab, const VmRow *vm) {
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(lab->description, "vms"), i, item) {
        if (str_equal(text_of(item, "name"), name_within_lab(vm->name)))
            return text_of(item, "run");
    }
    return NULL;
}

int lab_run_again(Home *home, Operation *operation, const json_t *vm, Error *error) {
    _cleanup_lab_row_ LabRow lab = {0};
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_get(home->store, str_or_empty(text_of(vm, "id")), &row, error);
    if (r < 0 || !*row.lab || str_equal(row.runtime.boot, "restored"))
        return MIN_OF(r, 0);
    r = labs_get(home->store, row.lab, &lab, error);
    if (r >= 0)
        r = lab_run_command(home, operation, row.id, find_line(&lab, &row), error);
    return r < 0 ? error_add_context(error, "the run of %s", row.name) : 0;
}
