/* SPDX-License-Identifier: Apache-2.0 */

/* Starting a VM. A guest whose console says nothing is started again, at most COLD_TRIES times in
 * all; any other failure ends the start, and the VM is `failed` with that error. */

#include "machine/start.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "machine/rename.h"
#include "run/launch.h"
#include "run/run_end.h"
#include "run/watcher.h"
#include "store/vms.h"

#define COLD_TRIES 3
#define LITTLE_MEMORY_BYTES (256 * MIB)

static void tell_retry(Home *home, Operation *operation, const VmRow *row, unsigned attempt) {
    _cleanup_json_ json_t *detail =
        json_pack("{s:i, s:i}", "attempt", (int)attempt, "of", COLD_TRIES);
    operation_note(operation, "the console of %s stays silent; starting it again (%u of %d)",
                   row->name, attempt, COLD_TRIES);
    home_event(home, "vm.retry", row->id, row->name, detail);
}

int vm_boot(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int r = cancel_fd;
    for (unsigned attempt = 1; cancel_fd >= 0; attempt++) {
        bool silent;
        r = vm_launch(home, operation, row, attempt - 1, cancel_fd, &silent, error);
        if (r >= 0 || !silent || attempt == COLD_TRIES)
            break;
        error_clear(error);
        tell_retry(home, operation, row, attempt + 1);
    }
    if (r == -ECANCELED && op_lock_aborted(lock))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "it was killed while it started");
    return r;
}

void vm_record_failure(Home *home, VmRow *row, const Error *failure) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *wrapped = json_from_error(failure);
    json_replace(&row->runtime.error, json_incref(json_object_get(wrapped, "error")));
    if (row_set_state(home, row, STATE_FAILED, json_object_get(wrapped, "error"), &error) < 0)
        log_warning("cannot record that %s failed: %s", row->name, error_message(&error));
}

static int check_startable(const VmRow *row, Error *error) {
    if (!vm_state_is_active(row->state))
        return 0;
    (void)error_set(error, ERROR_CONFLICT, EBUSY, "it is %s", vm_state_name(row->state));
    if (row->state != STATE_RUNNING)
        return vm_state_hint(row->state, row->name, error);
    error_set_hint(error, "let it end and start it again: ramet restart %s", row->name);
    return -EBUSY;
}

static int check_room(Home *home, const VmRow *row, Error *error) {
    uint64_t memory = row->spec.memory_bytes;
    int r = admission_check_disk(home, error);
    if (r >= 0)
        r = admission_check_ports(&row->spec, &row->spec.forwards, error);
    return r < 0 ? r : admission_check_memory(memory, error);
}

/* The last lines of its console seldom say it: they are the stack of some victim. */
static void hint_at_memory(const VmRow *row, Error *failure) {
    uint64_t bytes = row->spec.memory_bytes;
    if (failure->kind == ERROR_GUEST_NOT_READY && bytes < LITTLE_MEMORY_BYTES)
        error_set_hint(failure, "%llu MiB of memory may be too few for it; try --memory %lluM",
                       (unsigned long long)(bytes / MIB),
                       (unsigned long long)(LITTLE_MEMORY_BYTES / MIB));
}

int vm_prepare_boot(Home *home, Operation *operation, VmRow *row, Error *error) {
    int r;
    r = check_startable(row, error);
    if (r >= 0)
        r = check_room(home, row, error);
    if (r < 0)
        return error_add_context(error, "cannot start %s", row->name);
    row_clear_run(row);
    vm_update_hostname(row);
    row->runtime.standby[0] = '\0';
    standby_disks_forget(row);
    return layer_use_flattened(home, row, error);
}

static void end_unrecorded(Home *home, VmRow *row, const Error *failure) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (run_end_processes(home, row, &error) < 0) {
        log_warning("cannot end %s: %s", row->name, error_message(&error));
        return;
    }
    row_clear_processes(row);
    vm_record_failure(home, row, failure);
}

int vm_become_running(Home *home, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = row_set_state(home, row, STATE_RUNNING, row->runtime.stages, &failure);
    if (r >= 0) {
        vm_watch(home, row);
        return 0;
    }
    end_unrecorded(home, row, &failure);
    (void)error_move(error, &failure);
    return error_add_context(error, "cannot start %s", row->name);
}

int vm_start_locked(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = vm_prepare_boot(home, operation, row, error);
    if (r >= 0)
        r = row_set_state(home, row, STATE_STARTING, NULL, error);
    if (r < 0)
        return r;
    r = vm_boot(home, operation, lock, row, &failure);
    if (r < 0) {
        hint_at_memory(row, &failure);
        vm_record_failure(home, row, &failure);
        (void)error_move(error, &failure);
        return error_add_context(error, "cannot start %s", row->name);
    }
    return vm_become_running(home, row, error);
}
