/* SPDX-License-Identifier: Apache-2.0 */

/* Ending, pausing and restarting a VM that runs. The keeper does it; a keeper that does not answer
 * is ended with its QEMU, by identity, so that stop and kill always come to an end. */

#include "machine/stop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/policy.h"
#include "home/row.h"
#include "machine/look/describe.h"
#include "machine/machine.h"
#include "machine/refresh.h"
#include "machine/standby.h"
#include "run/keeper_call.h"
#include "run/run_end.h"
#include "run/watcher.h"
#include "store/vms.h"

#define CALL_SLACK_USEC (60 * USEC_PER_SEC)
#define PAUSE_TIMEOUT_USEC (30 * USEC_PER_SEC)

/* What its program is told to end by; 0: it has none. */
static unsigned stop_signal(const VmRow *row) {
    if (!row->spec.has_program)
        return 0;
    return row->spec.config.stop_signal ? row->spec.config.stop_signal : SIGTERM;
}

static int call_keeper(Home *home, const VmRow *row, const char *op, uint64_t timeout_usec,
                       uint64_t bound_usec, int cancel_fd, Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:I, s:I}", "op", op, "timeout_us", (json_int_t)timeout_usec, "signal",
                  (json_int_t)stop_signal(row));
    return vm_call_keeper(home, row, request, bound_usec, cancel_fd, error);
}

int vm_stop_locked(Home *home, VmRow *row, const char *op, uint64_t timeout_usec, int cancel_fd,
                   RunEnd *end, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    RunEnd ended = RUN_GOES_ON;
    int r = row_set_state(home, row, STATE_STOPPING, NULL, error);
    if (r < 0)
        return r;
    r = call_keeper(home, row, op, timeout_usec, timeout_usec + CALL_SLACK_USEC, cancel_fd,
                    &failure);
    if (r == -ECANCELED) { /* it goes on stopping; the watcher sees the end */
        watcher_changed(home, row->id);
        return error_move(error, &failure);
    }
    if (r < 0) {
        log_debug("the keeper of %s: %s", row->name, error_message(&failure));
        r = run_end_processes(home, row, error);
        if (r < 0)
            return r;
    }
    r = run_record_end(home, row, &ended, error);
    if (r >= 0)
        r = vm_finish_run(home, row, &ended, error);
    if (end)
        *end = ended;
    return r;
}

static int answer_unless_gone(Home *home, const VmRow *row, bool gone, json_t **vm, Error *error) {
    if (!gone)
        return vm_answer(home, row, vm, error);
    if (vm)
        *vm = json_pack("{s:s, s:s, s:s}", "id", row->id, "name", row->name, "state",
                        vm_state_name(STATE_STOPPED));
    return 0;
}

static int refuse(const VmRow *row, Error *error) {
    (void)error_set(error, ERROR_CONFLICT, EBUSY, "%s does not run: it is %s", row->name,
                    vm_state_name(row->state));
    return vm_state_hint(row->state, row->name, error);
}

void vm_note_killed(Operation *operation, const VmRow *row) {
    const char *cause = json_string_value(json_object_get(row->runtime.exit, "cause"));
    if (str_equal(cause, "killed"))
        operation_note(operation,
                       "%s did not shut down in time, and was killed: what its guest had not "
                       "written yet is lost",
                       row->name);
}

/* Of one that waits for its policy to start it again. */
static int cancel_restart(Home *home, VmRow *row, Error *error) {
    if (!deadline_is_set(&row->runtime.timers.restart))
        return 0;
    policy_begin(row);
    return vms_update(home->store, row, error);
}

int vm_stop(Home *home, Operation *operation, const char *reference, uint64_t timeout_usec,
            json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    RunEnd end = RUN_GOES_ON;
    int r;
    operation_enter(operation, "stop");
    r = row_lock(home, reference, "being stopped", operation->cancel_fd, &lock, &row, error);
    if (r >= 0 && vm_state_is_active(row.state)) {
        r = vm_stop_locked(home, &row, "stop", timeout_usec, operation->cancel_fd, &end, error);
        if (r >= 0)
            vm_note_killed(operation, &row);
    }
    if (r >= 0 && row.state == STATE_STANDBY) {
        operation_note(operation, "%s was in standby: its saved memory is discarded", row.name);
        r = vm_discard_standby(home, &row, error);
    }
    if (r >= 0)
        r = cancel_restart(home, &row, error);
    if (r < 0)
        return r;
    return answer_unless_gone(home, &row, end == RUN_REMOVED, vm, error);
}

/* Tells a start that goes on to give up, so that its lock comes free soon. */
static void abort_start(Home *home, const char *reference) {
    _cleanup_vm_row_ VmRow row = {0};
    if (vms_find(home->store, reference, &row, NULL) == 0)
        op_lock_abort(home->locks, row.id);
}

int vm_kill(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_vm_row_ VmRow before = {0};
    RunEnd end = RUN_GOES_ON;
    int r;
    operation_enter(operation, "kill");
    r = vms_find(home->store, reference, &before, error);
    if (r < 0)
        return r;
    abort_start(home, before.id);
    r = row_lock(home, before.id, "being killed", operation->cancel_fd, &lock, &row, error);
    if (r == -ENOENT && before.state == STATE_STARTING) {
        error_clear(error); /* the start that was ended undid it all */
        return answer_unless_gone(home, &before, true, vm, error);
    }
    if (r < 0)
        return r;
    if (vm_state_is_active(row.state))
        r = vm_stop_locked(home, &row, "kill", 0, operation->cancel_fd, &end, error);
    else if (deadline_is_set(&row.runtime.timers.restart))
        r = cancel_restart(home, &row, error);
    else if (before.state != STATE_STARTING)
        r = refuse(&row, error);
    if (r < 0)
        return r;
    return answer_unless_gone(home, &row, end == RUN_REMOVED, vm, error);
}

/* One that waits for room on the host is paused already, but not for who asked. */
static bool fits(const VmRow *row, VmState from) {
    return row->state == from ||
           (from == STATE_RUNNING && row->state == STATE_PAUSED && row->runtime.no_room);
}

static int change_pause(Home *home, Operation *operation, const char *reference, const char *op,
                        VmState from, VmState to, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    operation_enter(operation, op);
    r = row_lock(home, reference, str_equal(op, "pause") ? "being paused" : "being unpaused",
                 operation->cancel_fd, &lock, &row, error);
    if (r < 0)
        return r;
    if (!fits(&row, from)) {
        (void)error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s, not %s", row.name,
                        vm_state_name(row.state), vm_state_name(from));
        return vm_state_hint(row.state, row.name, error);
    }
    r = call_keeper(home, &row, op, 0, PAUSE_TIMEOUT_USEC, operation->cancel_fd, error);
    if (r >= 0 && to == STATE_PAUSED)
        row.runtime.no_room = false; /* it waits for somebody, and no more for room */
    if (r >= 0)
        r = row_set_state(home, &row, to, NULL, error);
    if (r < 0)
        return error_add_context(error, "cannot %s %s", op, row.name);
    return vm_answer(home, &row, vm, error);
}

int vm_pause(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    return change_pause(home, operation, reference, "pause", STATE_RUNNING, STATE_PAUSED, vm,
                        error);
}

int vm_unpause(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    return change_pause(home, operation, reference, "resume", STATE_PAUSED, STATE_RUNNING, vm,
                        error);
}
