/* SPDX-License-Identifier: Apache-2.0 */

/* What is done to one VM when a time of its policy has come. Each is told as an event before it
 * is done, which says why. */

#include "tend/steps.h"

#include <errno.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/policy.h"
#include "home/row.h"
#include "machine/machine.h"
#include "machine/remove.h"
#include "machine/standby.h"
#include "machine/start.h"
#include "machine/stop.h"
#include "proto/keeper.h"
#include "store/vms.h"
#include "tend/schedule.h"
#include "tend/wake.h"

static int rebase(Home *home, VmRow *row, const Now *now, Error *error) {
    policy_rebase(row, now);
    home_tend_changed(home);
    return vms_update(home->store, row, error);
}

/* ---- the time to live is over ---- */

static int end(Home *home, VmRow *row, Error *error) {
    int r;
    if (vm_state_is_active(row->state))
        return vm_stop_locked(home, row, "stop", VM_STOP_TIMEOUT_DEFAULT_USEC, home->closing_fd,
                              NULL, error);
    policy_begin(row); /* one that waits to be started again is not */
    r = row->state == STATE_STANDBY ? vm_discard_standby(home, row, error)
                                    : vms_update(home->store, row, error);
    return r >= 0 && row->remove ? vm_remove_locked(home, row, error) : r;
}

static int expire(Home *home, VmRow *row, Error *error) {
    _cleanup_json_ json_t *detail =
        json_pack("{s:I, s:s}", "ttl_ms", (json_int_t)(row->spec.policy.ttl_usec / USEC_PER_MSEC),
                  "state", vm_state_name(row->state));
    log_info("the time to live of %s is over", row->name);
    home_event(home, "vm.expired", row->id, row->name, detail);
    return end(home, row, error);
}

/* ---- another run ---- */

static void tell_restart(Home *home, const VmRow *row) {
    const VmPolicy *policy = &row->spec.policy;
    _cleanup_free_ char *name = restart_format(policy->restart, policy->restart_max);
    _cleanup_json_ json_t *detail = json_pack("{s:s, s:I}", "policy", name, "attempt",
                                              (json_int_t)row->runtime.timers.restarts);
    home_event(home, "vm.restarting", row->id, row->name, detail);
}

static int note_failed_restart(Home *home, VmRow *row, Error *error) {
    Now now = now_read();
    if (!policy_retry(row, &now))
        log_warning("%s is not started again: %s", row->name, error_message(error));
    home_tend_changed(home);
    return vms_update(home->store, row, NULL);
}

static int start_again(Home *home, OpLock *lock, VmRow *row, Error *error) {
    Operation operation;
    int r;
    if (vm_state_is_active(row->state))
        return 0;
    row->runtime.timers.restarts++;
    tell_restart(home, row);
    operation_init(&operation, 0, home->closing_fd);
    operation_enter(&operation, "plan");
    r = vm_start_locked(home, &operation, lock, row, error);
    return r < 0 ? note_failed_restart(home, row, error) : 0;
}

/* ---- all of them ---- */

static int step(Home *home, OpLock *lock, VmRow *row, Error *error) {
    Now now = now_read();
    uint64_t left;
    switch (policy_next(row, &now, &left)) {
    case STEP_NONE:
        return 0;
    case STEP_REBASE:
        return rebase(home, row, &now, error);
    case STEP_EXPIRE:
        return expire(home, row, error);
    case STEP_RESTART:
        return start_again(home, lock, row, error);
    case STEP_SNAPSHOT:
        return schedule_snapshot(home, row, error);
    }
    return 0;
}

/* ---- sleep ---- */

#define STATUS_USEC (30 * USEC_PER_SEC)

/* Nobody is in it, nor was, for as long as it has to be idle. */
static bool has_no_clients(Home *home, const VmRow *row) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status"), *status = NULL;
    _cleanup_close_ int dir_fd = -1;
    uint64_t now = clock_monotonic_usec(), active;
    if (vm_folder_open(home, row->id, &dir_fd, NULL) < 0 ||
        keeper_call(dir_fd, request, NULL, 0, now + STATUS_USEC, home->closing_fd, NULL, NULL,
                    &status, NULL) < 0)
        return false;
    active = (uint64_t)json_integer_value(json_object_get(status, "active_at_us"));
    return json_integer_value(json_object_get(status, "clients")) == 0 &&
           (active == 0 || active + row->spec.policy.idle_usec <= now);
}

static int doze(Home *home, VmRow *row, Error *error) {
    Operation operation;
    if (!row->spec.policy.idle_usec || !has_no_clients(home, row))
        return 0;
    operation_init(&operation, 0, -1);
    return vm_doze_locked(home, &operation, row, has_no_clients, error);
}

static int tend_locked(Home *home, OpLock *lock, VmRow *row, TendWish wish, Error *error) {
    if (row_is_hidden(row))
        return 0;
    return wish == TEND_DOZE ? doze(home, row, error) : step(home, lock, row, error);
}

int tend_step(Home *home, const char *id, TendWish wish, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    Operation operation;
    int r;
    operation_init(&operation, 0, home->closing_fd);
    if (wish == TEND_WAKE)
        return tend_wake(home, &operation, id, "connection", error);
    r = row_lock(home, id, "being tended", home->closing_fd, &lock, &row, error);
    if (r >= 0)
        r = tend_locked(home, lock, &row, wish, error);
    return r == -ENOENT || r == -ECANCELED ? 0 : r;
}
