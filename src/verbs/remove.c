/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>

#include "base/json.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "machine/remove.h"
#include "machine/stop.h"
#include "run/run_end.h"
#include "store/lab/labs.h"
#include "store/vms.h"
#include "verbs/verbs.h"

static int remove_found(Home *home, Operation *operation, const char *id, bool force,
                        Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    RunEnd end = RUN_GOES_ON;
    int r;
    if (force)
        op_lock_abort(home->locks, id);
    r = row_lock(home, id, "being removed", operation->cancel_fd, &lock, &row, error);
    if (r == -ENOENT) { /* whoever had the lock removed it */
        error_clear(error);
        return 0;
    }
    if (r < 0)
        return r;
    if (vm_state_is_active(row.state) && !force) {
        error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", row.name, vm_state_name(row.state));
        error_set_hint(error, "stop it first, or use ramet rm -f");
        return -EBUSY;
    }
    if (vm_state_is_active(row.state))
        r = vm_stop_locked(home, &row, "abandon", 0, -1, &end, error);
    if (r < 0 || end == RUN_REMOVED)
        return r;
    return vm_remove_locked(home, &row, error);
}

int vm_remove(Home *home, Operation *operation, const char *reference, bool force, json_t **removed,
              Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    operation_enter(operation, "remove");
    r = vms_find(home->store, reference, &row, error);
    if (r >= 0)
        r = labs_check_alone(home->store, row.lab, "VM", row.name, error);
    if (r >= 0)
        r = remove_found(home, operation, row.id, force, error);
    if (r >= 0 && removed)
        *removed = json_pack("{s:s, s:s}", "id", row.id, "name", row.name);
    return r;
}
