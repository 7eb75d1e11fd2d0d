/* SPDX-License-Identifier: Apache-2.0 */

/* `start` and `restart`: a VM in standby is resumed, one that never ran may come from the boot
 * cache. */

#include "machine/start.h"
#include "base/json.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/policy.h"
#include "home/row.h"
#include "machine/look/describe.h"
#include "machine/standby.h"
#include "machine/stop.h"
#include "store/vms.h"
#include "verbs/run.h"
#include "verbs/verbs.h"

/* Then its disk is empty, and it may come from the boot cache. */
static bool never_ran(const VmRow *row) {
    return row->state == STATE_CREATED && !*row->snapshot && !*row->runtime.root.layer;
}

int vm_start(Home *home, Operation *operation, const char *reference, bool cold, json_t **vm,
             Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    operation_enter(operation, "plan");
    r = row_lock(home, reference, "being started", operation->cancel_fd, &lock, &row, error);
    if (r >= 0 && (row.state != STATE_STANDBY || cold))
        policy_begin(&row);
    if (r >= 0 && row.state == STATE_STANDBY && !cold)
        r = vm_resume_locked(home, operation, lock, &row, error);
    else if (r >= 0 && never_ran(&row) && !cold)
        r = vm_start_first(home, operation, lock, &row, error);
    else if (r >= 0)
        r = vm_start_locked(home, operation, lock, &row, error);
    if (r < 0)
        return r;
    return vm_answer(home, &row, vm, error);
}

int vm_restart(Home *home, Operation *operation, const char *reference, bool cold,
               uint64_t timeout_usec, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    bool remove;
    int r;
    operation_enter(operation, "stop");
    r = row_lock(home, reference, "being restarted", operation->cancel_fd, &lock, &row, error);
    if (r < 0)
        return r;
    remove = row.remove;
    row.remove = false; /* this end is not its end; stored with the next change of state */
    if (vm_state_is_active(row.state)) {
        r = vm_stop_locked(home, &row, "stop", timeout_usec, operation->cancel_fd, NULL, error);
        if (r >= 0)
            vm_note_killed(operation, &row);
    }
    row.remove = remove;
    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    policy_begin(&row);
    r = vm_start_locked(home, operation, lock, &row, error);
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}
