/* SPDX-License-Identifier: Apache-2.0 */

#include "tend/wake.h"

#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "machine/standby.h"
#include "store/vms.h"

static bool sleeps(const VmRow *row) {
    return row->state == STATE_STANDBY && row->runtime.timers.dozing;
}

/* It may be on its way to sleep, or be woken by another client already. */
static bool may_sleep(const VmRow *row) {
    return row->spec.policy.idle_usec > 0 || row->runtime.timers.dozing
               ? sleeps(row) || row->runtime.standing_by || row->state == STATE_STARTING
               : false;
}

static int wake(Home *home, Operation *operation, const char *id, const char *why, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_json_ json_t *detail = json_pack("{s:s}", "by", why);
    int r = row_lock(home, id, "being woken", operation->cancel_fd, &lock, &row, error);
    if (r < 0 || !sleeps(&row))
        return r;
    home_event(home, "vm.waking", row.id, row.name, detail);
    return vm_resume_locked(home, operation, lock, &row, error);
}

int tend_wake(Home *home, Operation *operation, const char *reference, const char *why,
              Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    if (vms_find(home->store, reference, &row, NULL) < 0 || !may_sleep(&row))
        return 0; /* who needs it says what is wrong */
    return wake(home, operation, row.id, why, error);
}
