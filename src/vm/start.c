/* SPDX-License-Identifier: Apache-2.0 */

/* Starting a VM. A guest whose console says nothing is started again, at most COLD_TRIES times in
 * all; any other failure ends the start, and the VM is `failed` with that error. */

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "vm/boot_cache.h"
#include "vm/image_digest.h"
#include "vm/vm.h"

#define COLD_TRIES 3

int operation_join_cancel(const Operation *operation, int abort_fd, Error *error) {
    _cleanup_close_ int joined = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};

    if (joined < 0 || epoll_ctl(joined, EPOLL_CTL_ADD, abort_fd, &event) < 0 ||
        (operation->cancel_fd >= 0 &&
         epoll_ctl(joined, EPOLL_CTL_ADD, operation->cancel_fd, &event) < 0))
        return error_set_errno(error, errno, "cannot watch the client");
    return TAKE_FD(joined);
}

static void tell_retry(Ramet *ramet, Operation *operation, const VmRow *row, unsigned attempt) {
    _cleanup_json_ json_t *detail =
        json_pack("{s:i, s:i}", "attempt", (int)attempt, "of", COLD_TRIES);

    operation_note(operation, "the console of %s stays silent; starting it again (%u of %d)",
                   row->name, attempt, COLD_TRIES);
    ramet_event(ramet, "vm.retry", row->id, row->name, detail);
}

int vm_boot(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int r = cancel_fd;

    for (unsigned attempt = 1; cancel_fd >= 0; attempt++) {
        bool silent;

        r = vm_launch(ramet, operation, row, cancel_fd, &silent, error);
        if (r >= 0 || !silent || attempt == COLD_TRIES)
            break;
        error_clear(error);
        tell_retry(ramet, operation, row, attempt + 1);
    }
    if (r == -ECANCELED && op_lock_aborted(lock))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "it was killed while it started");
    return r;
}

void vm_watch(Ramet *ramet, const VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(ramet, row->id, &dir_fd, &error);

    if (r >= 0)
        r = watcher_add_vm(ramet->watcher, row->id, row_process(row, "keeper").pid, dir_fd, &error);
    if (r < 0) {
        log_debug("cannot watch %s: %s", row->name, error_message(&error));
        settle_later(ramet, row->id);
    }
}

void vm_record_failure(Ramet *ramet, VmRow *row, const Error *failure) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *wrapped = json_from_error(failure);

    row_set(row, "error", json_incref(json_object_get(wrapped, "error")));
    if (row_set_state(ramet, row, STATE_FAILED, json_object_get(wrapped, "error"), &error) < 0)
        log_warning("cannot record that %s failed: %s", row->name, error_message(&error));
}

static int check_startable(const VmRow *row, Error *error) {
    if (!state_is_active(row->state))
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "it is %s", row->state);
    if (str_equal(row->state, STATE_PAUSED))
        error_set_hint(error, "unpause it");
    return -EBUSY;
}

static int check_room(Ramet *ramet, const VmRow *row, Error *error) {
    uint64_t memory = (uint64_t)json_integer_value(json_object_get(row->spec, "memory_bytes"));
    int r = admission_check_disk(ramet, error);

    if (r >= 0)
        r = admission_check_ports(json_object_get(row->spec, "forwards"), error);
    return r < 0 ? r : admission_check_memory(memory, error);
}

int vm_start_locked(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;

    r = check_startable(row, error);
    if (r >= 0)
        r = check_room(ramet, row, error);
    if (r >= 0)
        r = vm_await_digest(ramet, operation, row, error);
    if (r < 0)
        return error_add_context(error, "cannot start %s", row->name);
    row_clear_run(row);
    row_set(row, "standby", NULL);
    row_set(row, "standby_disk", NULL);
    r = layer_take_flat(ramet, row, error);
    if (r >= 0)
        r = row_set_state(ramet, row, STATE_STARTING, NULL, error);
    if (r < 0)
        return r;
    r = vm_boot(ramet, operation, lock, row, &failure);
    if (r < 0) {
        vm_record_failure(ramet, row, &failure);
        (void)error_move(error, &failure);
        return error_add_context(error, "cannot start %s", row->name);
    }
    r = row_set_state(ramet, row, STATE_RUNNING, json_object_get(row->runtime, "stages"), error);
    if (r >= 0)
        vm_watch(ramet, row);
    return r;
}

/* Then its disk is empty, and it may come from the boot cache. */
static bool never_ran(const VmRow *row) {
    return str_equal(row->state, STATE_CREATED) && !*row->snapshot && !*row_text(row, "layer");
}

int vm_start(Ramet *ramet, Operation *operation, const char *reference, bool cold, json_t **vm,
             Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;

    operation_enter(operation, "plan");
    r = row_lock(ramet, reference, "being started", operation->cancel_fd, &lock, &row, error);
    if (r >= 0 && str_equal(row.state, STATE_STANDBY) && !cold)
        r = vm_resume_locked(ramet, operation, lock, &row, error);
    else if (r >= 0 && never_ran(&row) && !cold)
        r = vm_start_first(ramet, operation, lock, &row, error);
    else if (r >= 0)
        r = vm_start_locked(ramet, operation, lock, &row, error);
    if (r < 0)
        return r;
    return vm_answer(ramet, &row, vm, error);
}
