/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/update.h"

#include <errno.h>

#include "home/inside.h"
#include "home/limits.h"
#include "home/op_lock.h"
#include "home/policy.h"
#include "home/row.h"
#include "limits/enforce.h"
#include "machine/look/describe.h"
#include "run/limit_running.h"
#include "store/vms.h"

/* It has a time to live now, or will have when it starts again. */
static bool is_up(const VmRow *row) {
    return vm_state_is_active(row->state) || row->state == STATE_STANDBY ||
           deadline_is_set(&row->runtime.timers.restart);
}

static void take_ttl(VmRow *row) {
    Now now = now_read();
    row->runtime.timers.expires = (Deadline){0};
    if (row->spec.policy.ttl_usec && is_up(row))
        row->runtime.timers.expires = deadline_in(&now, row->spec.policy.ttl_usec);
}

static void take_schedule(VmRow *row) {
    Now now = now_read();
    row->runtime.timers.snapshot = (Deadline){0};
    if (row->spec.policy.snapshot_usec && row->state == STATE_RUNNING)
        row->runtime.timers.snapshot = deadline_in(&now, row->spec.policy.snapshot_usec);
}

static int change(VmRow *row, const json_t *changes, Error *error) {
    VmPolicy *policy = &row->spec.policy;
    int r = vm_policy_parse(changes, policy, error);
    if (r < 0)
        return r;
    if (row->remove && policy->restart != RESTART_NO)
        return error_set(error, ERROR_CONFLICT, EINVAL,
                         "%s is removed at its end and cannot be started again", row->name);
    if (json_object_get(changes, "ttl_ms"))
        take_ttl(row);
    if (json_object_get(changes, "snapshot_every_ms"))
        take_schedule(row);
    if (policy->restart == RESTART_NO)
        row->runtime.timers.restart = (Deadline){0};
    return 0;
}

/* A VM that runs has them at once; when that fails, it has those from before. */
static int change_limits(Home *home, VmRow *row, const json_t *changes, Error *error) {
    const VmLimits before = row->spec.limits;
    VmLimits *limits = &row->spec.limits;
    int r = vm_limits_parse(changes, limits, error);
    if (r >= 0 && !vm_limits_equal(&before, limits))
        r = limits_check(home, limits, error);
    if (r < 0 || vm_limits_equal(&before, limits) || !vm_state_is_active(row->state))
        return r;
    r = vm_limit_running(home, row, error);
    if (r < 0) {
        *limits = before;
        (void)vm_limit_running(home, row, NULL);
        (void)vms_update(home->store, row, NULL);
    }
    return r;
}

int vm_update(Home *home, Operation *operation, const char *reference, const json_t *changes,
              json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(home, reference, "being updated", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = change(&row, changes, error);
    if (r >= 0)
        r = change_limits(home, &row, changes, error);
    if (r >= 0)
        r = vms_update(home->store, &row, error);
    if (r < 0)
        return r;
    home_tend_changed(home);
    return vm_answer(home, &row, vm, error);
}
