/* SPDX-License-Identifier: Apache-2.0 */

/* Removing a VM. It is `removing` first, so that a daemon that dies halfway finishes it at its next
 * start; then its processes, its folder and at last its row go. What fails does not stop the rest,
 * but the row stays as long as anything else does. */

#include "machine/remove.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/image_remove.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "run/run_end.h"
#include "storage/bases.h"
#include "store/vms.h"

static int remove_folder(Home *home, const char *id, Error *error) {
    int r = path_remove_tree_at(home->vms_fd, id);
    return r < 0 ? error_set_errno(error, -r, "cannot remove %s/vms/%s", home->path, id) : 0;
}

/* A failed removal is seen as such: the VM comes back as it was, with what went wrong. */
static void show_failure(Home *home, VmRow *row, const char *messages) {
    _cleanup_json_ json_t *failure =
        json_pack("{s:s, s:s, s:s}", "code", "failed", "message", messages, "hint", "");
    json_replace(&row->runtime.error, json_incref(failure));
    (void)row_set_state(home, row, STATE_FAILED, failure, NULL);
}

int vm_remove_locked(Home *home, VmRow *row, Error *error) {
    _cleanup_error_ Error failures = ERROR_INIT, step = ERROR_INIT;
    int r = row_set_state(home, row, STATE_REMOVING, NULL, &step);
    if (r < 0 && r != -ENOENT)
        error_join(&failures, &step);
    if (run_end_processes(home, row, &step) < 0)
        error_join(&failures, &step);
    if (remove_folder(home, row->id, &step) < 0)
        error_join(&failures, &step);
    if (failures.kind == ERROR_NONE && vms_delete(home->store, row->id, &step) < 0)
        error_join(&failures, &step);
    if (failures.kind != ERROR_NONE) {
        show_failure(home, row, error_message(&failures));
        return error_set(error, ERROR_FAILED, failures.errnum, "cannot remove all of %s: %s",
                         row->name, error_message(&failures));
    }
    if (!*row->runtime.hidden)
        home_event(home, "vm.removed", row->id, row->name, NULL);
    lineage_collect(home);
    image_base_collect(home, row->image_digest);
    if (row->spec.mounts.count > 0)
        bases_collect(home);
    return 0;
}
