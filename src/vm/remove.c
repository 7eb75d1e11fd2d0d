/* SPDX-License-Identifier: Apache-2.0 */

/* Removing a VM. It is `removing` first, so that a daemon that dies halfway finishes it at its next
 * start; then its processes, its folder and at last its row go. What fails does not stop the rest,
 * but the row stays as long as anything else does. */

#include <errno.h>
#include <string.h>

#include "vm/snapshot_internal.h"
#include "vm/vm.h"

/* Adds one failure's message to those before it, and keeps the first one's errno. */
static void gather(int r, Error *step, StrBuf *messages, int *first) {
    if (r >= 0)
        return;
    if (*first == 0)
        *first = r;
    if (messages->size > 0)
        strbuf_add_text(messages, "; ");
    strbuf_add_text(messages, error_message(step));
    error_clear(step);
}

static int remove_folder(Ramet *ramet, const char *id, Error *error) {
    int r = path_remove_tree_at(ramet->vms_fd, id);

    return r < 0 ? error_set_errno(error, -r, "cannot remove %s/vms/%s", ramet->home, id) : 0;
}

/* A failed removal is seen as such: the VM comes back as it was, with what went wrong. */
static void show_failure(Ramet *ramet, VmRow *row, const char *messages) {
    _cleanup_json_ json_t *failure =
        json_pack("{s:s, s:s, s:n}", "code", "failed", "message", messages, "hint");

    row_set(row, "error", json_incref(failure));
    (void)row_set_state(ramet, row, STATE_FAILED, failure, NULL);
}

int vm_remove_locked(Ramet *ramet, VmRow *row, Error *error) {
    _cleanup_(strbuf_free) StrBuf messages = {0};
    _cleanup_error_ Error step = ERROR_INIT;
    int r, first = 0;

    r = row_set_state(ramet, row, STATE_REMOVING, NULL, &step);
    if (r != -ENOENT)
        gather(r, &step, &messages, &first);
    gather(vm_end_processes(ramet, row, &step), &step, &messages, &first);
    gather(remove_folder(ramet, row->id, &step), &step, &messages, &first);
    if (first == 0)
        gather(vms_delete(ramet->store, row->id, &step), &step, &messages, &first);
    if (first < 0) {
        show_failure(ramet, row, messages.data);
        return error_set(error, ERROR_FAILED, -first, "cannot remove all of %s: %s", row->name,
                         messages.data);
    }
    if (!*row_text(row, "hidden"))
        ramet_event(ramet, "vm.removed", row->id, row->name, NULL);
    lineage_collect(ramet);
    return 0;
}

int vm_remove(Ramet *ramet, Operation *operation, const char *reference, bool force, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_vm_row_ VmRow before = {0};
    RunEnd end = RUN_GOES_ON;
    int r;

    operation_enter(operation, "remove");
    r = vms_find(ramet->store, reference, &before, error);
    if (r < 0)
        return r;
    if (force)
        op_lock_abort(ramet->locks, before.id);
    r = row_lock(ramet, before.id, "being removed", operation->cancel_fd, &lock, &row, error);
    if (r == -ENOENT) { /* whoever had the lock removed it */
        error_clear(error);
        return 0;
    }
    if (r < 0)
        return r;
    if (state_is_active(row.state) && !force) {
        error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", row.name, row.state);
        error_set_hint(error, "stop it first, or use ramet rm -f");
        return -EBUSY;
    }
    if (state_is_active(row.state))
        r = vm_stop_locked(ramet, &row, "kill", 0, -1, &end, error);
    if (r < 0 || end == RUN_REMOVED)
        return r;
    return vm_remove_locked(ramet, &row, error);
}
