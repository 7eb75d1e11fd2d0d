/* SPDX-License-Identifier: Apache-2.0 */

/* Ending, pausing and restarting a VM that runs. The keeper does it; a keeper that does not answer
 * is ended with its QEMU, by identity, so that stop and kill always come to an end. */

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "proto/keeper.h"
#include "vm/snapshot_internal.h"
#include "vm/vm.h"

#define CALL_SLACK_USEC (60 * USEC_PER_SEC)
#define PAUSE_TIMEOUT_USEC (30 * USEC_PER_SEC)

int vm_call_keeper(Ramet *ramet, const VmRow *row, const json_t *request, uint64_t timeout_usec,
                   int cancel_fd, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(ramet, row->id, &dir_fd, error);

    if (r < 0)
        return r;
    return keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + timeout_usec, cancel_fd,
                       NULL, NULL, &ok, error);
}

static int call_keeper(Ramet *ramet, const VmRow *row, const char *op, uint64_t timeout_usec,
                       uint64_t bound_usec, int cancel_fd, Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:I}", "op", op, "timeout_us", (json_int_t)timeout_usec);

    return vm_call_keeper(ramet, row, request, bound_usec, cancel_fd, error);
}

int vm_stop_locked(Ramet *ramet, VmRow *row, const char *op, uint64_t timeout_usec, int cancel_fd,
                   RunEnd *end, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = row_set_state(ramet, row, STATE_STOPPING, NULL, error);

    if (r < 0)
        return r;
    r = call_keeper(ramet, row, op, timeout_usec, timeout_usec + CALL_SLACK_USEC, cancel_fd,
                    &failure);
    if (r == -ECANCELED) { /* it goes on stopping; the watcher sees the end */
        settle_later(ramet, row->id);
        return error_move(error, &failure);
    }
    if (r < 0) {
        log_debug("the keeper of %s: %s", row->name, error_message(&failure));
        r = vm_end_processes(ramet, row, error);
        if (r < 0)
            return r;
    }
    return vm_settle_ended(ramet, row, end, error);
}

static int answer_unless_gone(Ramet *ramet, const VmRow *row, bool gone, json_t **vm,
                              Error *error) {
    if (!gone)
        return vm_answer(ramet, row, vm, error);
    if (vm)
        *vm =
            json_pack("{s:s, s:s, s:s}", "id", row->id, "name", row->name, "state", STATE_STOPPED);
    return 0;
}

static int refuse(const VmRow *row, Error *error) {
    return error_set(error, ERROR_CONFLICT, EBUSY, "%s does not run: it is %s", row->name,
                     row->state);
}

int vm_stop(Ramet *ramet, Operation *operation, const char *reference, uint64_t timeout_usec,
            json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    RunEnd end = RUN_GOES_ON;
    int r;

    operation_enter(operation, "stop");
    r = row_lock(ramet, reference, "being stopped", operation->cancel_fd, &lock, &row, error);
    if (r >= 0 && state_is_active(row.state))
        r = vm_stop_locked(ramet, &row, "stop", timeout_usec, operation->cancel_fd, &end, error);
    if (r >= 0 && str_equal(row.state, STATE_STANDBY)) {
        operation_note(operation, "%s was in standby: its saved memory is discarded", row.name);
        r = vm_discard_standby(ramet, &row, error);
    }
    if (r < 0)
        return r;
    return answer_unless_gone(ramet, &row, end == RUN_REMOVED, vm, error);
}

/* Tells a start that goes on to give up, so that its lock comes free soon. */
static void abort_start(Ramet *ramet, const char *reference) {
    _cleanup_vm_row_ VmRow row = {0};

    if (vms_find(ramet->store, reference, &row, NULL) == 0)
        op_lock_abort(ramet->locks, row.id);
}

int vm_kill(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_vm_row_ VmRow before = {0};
    RunEnd end = RUN_GOES_ON;
    int r;

    operation_enter(operation, "kill");
    r = vms_find(ramet->store, reference, &before, error);
    if (r < 0)
        return r;
    abort_start(ramet, before.id);
    r = row_lock(ramet, before.id, "being killed", operation->cancel_fd, &lock, &row, error);
    if (r == -ENOENT && str_equal(before.state, STATE_STARTING)) {
        error_clear(error); /* the start that was ended undid it all */
        return answer_unless_gone(ramet, &before, true, vm, error);
    }
    if (r < 0)
        return r;
    if (state_is_active(row.state))
        r = vm_stop_locked(ramet, &row, "kill", 0, operation->cancel_fd, &end, error);
    else if (!str_equal(before.state, STATE_STARTING))
        r = refuse(&row, error);
    if (r < 0)
        return r;
    return answer_unless_gone(ramet, &row, end == RUN_REMOVED, vm, error);
}

int vm_restart(Ramet *ramet, Operation *operation, const char *reference, bool cold,
               uint64_t timeout_usec, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    bool remove;
    int r;

    operation_enter(operation, "stop");
    r = row_lock(ramet, reference, "being restarted", operation->cancel_fd, &lock, &row, error);
    if (r < 0)
        return r;
    remove = row.remove;
    row.remove = false; /* this end is not its end; stored with the next change of state */
    if (state_is_active(row.state))
        r = vm_stop_locked(ramet, &row, "stop", timeout_usec, operation->cancel_fd, NULL, error);
    row.remove = remove;
    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    r = vm_start_locked(ramet, operation, lock, &row, error);
    return r < 0 ? r : vm_answer(ramet, &row, vm, error);
}

static int change_pause(Ramet *ramet, Operation *operation, const char *reference, const char *op,
                        const char *from, const char *to, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;

    operation_enter(operation, op);
    r = row_lock(ramet, reference, str_equal(op, "pause") ? "being paused" : "being unpaused",
                 operation->cancel_fd, &lock, &row, error);
    if (r < 0)
        return r;
    if (!str_equal(row.state, from))
        return error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s, not %s", row.name, row.state,
                         from);
    r = call_keeper(ramet, &row, op, 0, PAUSE_TIMEOUT_USEC, operation->cancel_fd, error);
    if (r >= 0)
        r = row_set_state(ramet, &row, to, NULL, error);
    if (r < 0)
        return error_add_context(error, "cannot %s %s", op, row.name);
    return vm_answer(ramet, &row, vm, error);
}

int vm_pause(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error) {
    return change_pause(ramet, operation, reference, "pause", STATE_RUNNING, STATE_PAUSED, vm,
                        error);
}

int vm_unpause(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
               Error *error) {
    return change_pause(ramet, operation, reference, "resume", STATE_PAUSED, STATE_RUNNING, vm,
                        error);
}
