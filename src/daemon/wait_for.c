/* SPDX-License-Identifier: Apache-2.0 */
/* What requests wait for: a VM that runs, and more than a ready one, where the request or the VM's
 * specification names a command. */

#include <errno.h>

#include "base/str.h"
#include "daemon/handlers.h"
#include "machine/machine.h"
#include "store/vms.h"
#include "tend/wake.h"
#include "verbs/verbs.h"

static const json_t *member_or_own(const Request *request, const json_t *vm, const char *name) {
    const json_t *asked = json_object_get(request->input, name);
    return asked && !json_is_null(asked) ? asked : json_object_get(vm, name);
}

static int wait_for(Request *request, const json_t *vm, Error *error) {
    const char *command = json_string_value(member_or_own(request, vm, "wait_for"));
    const json_t *seconds = member_or_own(request, vm, "wait_timeout_s");
    if (!command || !*command)
        return 0;
    return vm_wait_for(request->home, &request->operation,
                       json_string_value(json_object_get(vm, "id")), command,
                       json_is_integer(seconds) && json_integer_value(seconds) > 0
                           ? (uint64_t)json_integer_value(seconds)
                           : VM_WAIT_FOR_SECONDS,
                       error);
}

int wait_for_ready(Request *request, json_t **answer, Error *error) {
    const json_t *vms = json_object_get(*answer, "vms");
    int r = vms ? 0 : wait_for(request, *answer, error);
    for (size_t i = 0; r >= 0 && i < json_array_size(vms); i++)
        r = wait_for(request, json_array_get(vms, i), error);
    if (r < 0) {
        json_decref(*answer);
        *answer = NULL;
    }
    return r;
}

/* A VM that is starting, perhaps since its guest rebooted, is waited for, as long as the client
 * waits.
 */
static int find_started(Request *request, VmRow *row, Error *error) {
    int r = vms_find(home_store(request->home), request->argument, row, error);
    if (r < 0 || row->state != STATE_STARTING)
        return r;
    r = vm_wait(request->home, &request->operation, row->id, "running", false, NULL, error);
    vm_row_free(row);
    *row = (VmRow){0};
    return r < 0 ? r : vms_find(home_store(request->home), request->argument, row, error);
}

int check_running(Request *request, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = tend_wake(request->home, &request->operation, request->argument, "client", error);
    if (r >= 0)
        r = find_started(request, &row, error);
    if (r < 0)
        return r;
    if (row.state == STATE_RUNNING)
        return 0;
    (void)error_set(error, ERROR_CONFLICT, EBUSY, "%s is not running, it is %s", row.name,
                    vm_state_name(row.state));
    return vm_state_hint(row.state, row.name, error);
}
