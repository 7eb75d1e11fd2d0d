/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "keeper/tasks/adopt.h"
#include "keeper/tasks/pause.h"
#include "keeper/tasks/room.h"
#include "keeper/tasks/snapshot_request.h"
#include "memory/diff.h"

/* A snapshot of a VM that goes on, or is paused:
 *
 *   SYNC ┄▶ COPYING ┄▶ FREEZE ┄▶ (prepare, pause) ─▶ WRITING ┄▶ answered
 *      └───────┴──────────┴──────────────┴──────────────┴─▶ thaw, error
 *
 * One of several that are saved together ("group") waits where all must have come as far: before
 * it freezes, before it stops and once it stands still. It says so, and goes on when it is told.
 *
 * The agent is waited for in the loop. Copying and writing take as long as there is memory; they go
 * on in other threads, while the guest and its sessions go on. While the guest freezes, what the
 * memory base holds is added to the copy, as far as that gets, which is less to write afterwards.
 * Preparing and the pause block the loop, since nothing may come between. The file systems thaw as
 * soon as the pause is over. Whatever fails, the VM runs on as it did before.
 *
 * A clone must not run a line of anybody's code before it is itself, so its source must be
 * the agent's alone (docs/agent.md) when it is saved: where the agent cannot promise that, or its
 * time was over, there is no snapshot to fork. A VM that is paused was stopped anywhere, so it goes
 * on for the length of a freeze, and stays in that state until somebody lets it go on. One that
 * goes into standby wakes as itself, and is saved in any case.
 *
 * When the daemon's connection ends, the snapshot goes on if its disks were switched already (it
 * is only that nobody hears of it), and is given up otherwise. */

#define MEET_TIMEOUT_USEC (120 * USEC_PER_SEC) /* longer than whoever asked waits for all */

/* The steps, in order. */
static void on_synced(void *data, const Frame *frame);
static void copy_ahead(void *data);
static void on_copied(void *data);
static void lay_base(void *data);
static void on_laid(void *data);
static void on_freeze(void *data);
static void on_frozen(void *data, const Frame *frame);
static void on_freeze_timeout(void *data);
static void on_prepare(void *data);
static void on_stop(void *data);
static void on_pause(void *data);
static void write_memory(void *data);
static void on_written(void *data);
static void fail(Snapshot *snapshot, const Error *error);

/* The request */

static int check(const Vm *vm, Error *error) {
    int r = vm_require_up(vm, error);
    if (r < 0)
        return r;
    if (vm->snapshot)
        return error_set(error, ERROR_CONFLICT, EBUSY, "a snapshot is being taken already");
    if (vm_lacks_room(vm))
        return room_error(error);
    if (vm->channel.link.state != LINK_UP)
        return error_set(error, ERROR_GUEST_NOT_READY, ENOTCONN,
                         "the guest's agent does not answer, so a clone could not be greeted");
    return pulse_require(&vm->pulse, error);
}

static Snapshot *make(Vm *vm, Reply *reply) {
    Snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return NULL;
    snapshot->vm = vm;
    snapshot->reply = reply;
    snapshot->state_fd = snapshot->memory_fd = snapshot->capture_fd = -1;
    snapshot->ram = GUEST_RAM_INIT;
    snapshot->was_paused = vm->state == VM_PAUSED;
    snapshot->state_frozen = vm->left_frozen;
    snapshot->freeze = vm->left_frozen ? vm->freeze : (AgentResult){0};
    return snapshot;
}

void snapshot_free(Vm *vm) {
    Snapshot *snapshot = TAKE_PTR(vm->snapshot);
    if (!snapshot)
        return;
    loop_remove(snapshot->timer);
    memory_capture_cancel(&snapshot->capture);
    loop_job_wait(snapshot->job);
    error_clear(&snapshot->job_error);
    if (snapshot->freezing)
        link_cancel(&vm->channel.link, snapshot->freezing);
    for (size_t i = 0; i < snapshot->n_disks; i++) {
        fd_close(snapshot->disks[i].fd);
        fd_close(snapshot->disks[i].fd_write);
    }
    fd_close(snapshot->state_fd);
    fd_close(snapshot->memory_fd);
    fd_close(snapshot->capture_fd);
    memory_capture_free(&snapshot->capture);
    guest_ram_close(&snapshot->ram);
    free(snapshot);
}

static void set_timer(Snapshot *snapshot, uint64_t when_usec, LoopTimerHandler handler) {
    loop_remove(snapshot->timer);
    snapshot->timer = loop_add_timer(snapshot->vm->loop, when_usec, handler, snapshot);
}

/* In a round of the loop of its own. */
static void go_on(Snapshot *snapshot, LoopTimerHandler handler) {
    set_timer(snapshot, 0, handler);
}

/* In another thread; `work` leaves its result in job_result and job_error. */
static int start_job(Snapshot *snapshot, LoopJobCall work, LoopJobCall done, Error *error) {
    return loop_job_start(snapshot->vm->loop, work, done, snapshot, &snapshot->job, error);
}

static int end_job(Snapshot *snapshot, Error *error) {
    snapshot->job = NULL;
    return snapshot->job_result < 0 ? error_move(error, &snapshot->job_error) : 0;
}

/* Waiting for others */

static void on_told(void *data, bool go_on_now) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (go_on_now) {
        go_on(snapshot, snapshot->next);
        return;
    }
    (void)error_set(&error, ERROR_CANCELLED, ECANCELED,
                    "another VM that was to be saved with it could not be");
    fail(snapshot, &error);
}

static void on_lonely(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_TIMEOUT, ETIMEDOUT,
                    "the VMs that were to be saved with it did not come as far in time");
    fail(snapshot, &error);
}

/* Alone it goes on at once. */
static void meet(Snapshot *snapshot, const char *where, uint64_t at_usec, LoopTimerHandler next) {
    if (!snapshot->in_group) {
        next(snapshot);
        return;
    }
    snapshot->next = next;
    set_timer(snapshot, clock_monotonic_usec() + MEET_TIMEOUT_USEC, on_lonely);
    reply_await(snapshot->reply, on_told);
    reply_event(snapshot->reply, json_pack("{s:s, s:s, s:I}", "event", "meet", "where", where,
                                           "at_us", (json_int_t)at_usec));
}

/* Freezing */

static int send_sync(Snapshot *snapshot, Error *error) {
    reply_stage(snapshot->reply, "sync");
    int r = link_open(&snapshot->vm->channel.link, FRAME_SYNC, NULL, 0, on_synced, snapshot,
                      &snapshot->freezing);
    return r < 0 ? error_set_errno(error, -r, "cannot tell the agent to sync the file systems") : 0;
}

static int send_freeze(Snapshot *snapshot, Error *error) {
    reply_stage(snapshot->reply, "freeze");
    int r = link_open(&snapshot->vm->channel.link, FRAME_FREEZE, NULL, 0, on_frozen, snapshot,
                      &snapshot->freezing);
    if (r < 0)
        return error_set_errno(error, -r, "cannot tell the agent to freeze the file systems");
    snapshot->frozen = snapshot->state_frozen = true; /* from here on a thaw is due */
    return 0;
}

/* What comes next may block the loop, and the guest shall not wait for that. */
static void thaw(Snapshot *snapshot) {
    if (agent_channel_thaw(&snapshot->vm->channel) < 0)
        log_warning("cannot tell the agent to thaw");
    (void)agent_channel_flush(&snapshot->vm->channel);
    snapshot->frozen = false;
}

/* It finds the FREEZE as soon as it runs. Without a SYNC before, so that it runs for a moment only.
 */
static int run_to_freeze(Snapshot *snapshot, Error *error) {
    int r = send_freeze(snapshot, error);
    (void)agent_channel_flush(&snapshot->vm->channel);
    if (r == 0)
        r = machine_call(&snapshot->vm->machine, "cont", NULL, NULL, error);
    snapshot->runs_to_freeze = r == 0;
    if (r < 0 && snapshot->frozen)
        thaw(snapshot);
    return r;
}

static int require_exclusive(const Snapshot *snapshot, Error *error) {
    if (!snapshot->for_fork || snapshot->freeze.exclusive)
        return 0;
    (void)error_set(error, ERROR_FAILED, 0,
                    "its clones would run its programs under its name before they are themselves: "
                    "%s",
                    snapshot->freeze.why_not);
    error_set_hint(error, "stop it and snapshot its disk, or let the guest's root have real-time "
                          "priorities");
    return -EPERM;
}

/* A VM that an earlier snapshot left frozen stands as it is to be saved. */
static bool stands(const Snapshot *snapshot) {
    return snapshot->vm->left_frozen || !snapshot->wants_freeze;
}

static void set_freeze_timer(Snapshot *snapshot) {
    set_timer(snapshot, clock_monotonic_usec() + snapshot->freeze_timeout_usec, on_freeze_timeout);
}

static int begin_copying(Snapshot *snapshot, Error *error) {
    Vm *vm = snapshot->vm;
    int r = guest_ram_open(vm->machine.process.pid, vm->memory_fd, vm->plan.memory_bytes,
                           &snapshot->ram, error);
    if (r < 0)
        return r;
    memory_capture_init(&snapshot->capture, &snapshot->ram, snapshot->capture_fd);
    reply_stage(snapshot->reply, "copy");
    return start_job(snapshot, copy_ahead, on_copied, error);
}

static int begin(Snapshot *snapshot, Error *error) {
    int r = snapshot->vm->left_frozen ? require_exclusive(snapshot, error) : 0;
    if (r < 0)
        return r;
    if (stands(snapshot) || snapshot->was_paused)
        return begin_copying(snapshot, error);
    r = send_sync(snapshot, error);
    if (r == 0)
        set_freeze_timer(snapshot);
    return r;
}

/* If its disks were switched already, it is only that nobody hears of it. */
static void on_asker_gone(void *data) {
    Snapshot *snapshot = data;
    snapshot->reply = NULL;
    if (snapshot->switched || snapshot->captured)
        return;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_CANCELLED, ECANCELED, "nobody waits for it any more");
    fail(snapshot, &error);
}

int snapshot_begin(Vm *vm, Reply *reply, const json_t *request, int *fds, size_t n_fds,
                   Error *error) {
    int r = check(vm, error);
    if (r < 0)
        return r;
    adopt_withdraw(vm);
    vm->snapshot = make(vm, reply);
    if (!vm->snapshot)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    r = snapshot_request_read(vm->snapshot, request, fds, n_fds, error);
    if (r == 0)
        r = begin(vm->snapshot, error);
    if (r < 0)
        snapshot_free(vm);
    else
        reply_keep(reply, on_asker_gone, vm->snapshot);
    return r;
}

/* The SYNC has taken what is slow, so that the guest stands still for a moment only. */
static void on_synced(void *data, const Frame *frame) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type != FRAME_RESULT)
        return;
    snapshot->freezing = NULL;
    snapshot->timer = loop_remove(snapshot->timer);
    if (!frame)
        on_frozen(snapshot, NULL);
    else if (begin_copying(snapshot, &error) < 0)
        fail(snapshot, &error);
}

static void copy_ahead(void *data) {
    Snapshot *snapshot = data;
    snapshot->job_result = memory_capture_ahead(
        &snapshot->capture, snapshot->vm->machine.userfaultfd, &snapshot->job_error);
}

/* Not where all that is dirty comes in the pause: it would be written over what was laid. */
static bool wants_laying(const Snapshot *snapshot) {
    return snapshot->whole && snapshot->capture.written.way != WRITTEN_UNKNOWN;
}

static void on_copied(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (end_job(snapshot, &error) < 0)
        fail(snapshot, &error);
    else
        meet(snapshot, "copied", clock_monotonic_usec(), stands(snapshot) ? on_prepare : on_freeze);
}

/* The timer comes first: a guest that goes on may lack room at once (snapshot_lacks_room). */
static void on_freeze(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    set_freeze_timer(snapshot);
    int r = vm_lacks_room(snapshot->vm) ? room_error(&error)
            : snapshot->was_paused      ? run_to_freeze(snapshot, &error)
                                        : send_freeze(snapshot, &error);
    if (r == 0 && wants_laying(snapshot))
        r = start_job(snapshot, lay_base, on_laid, &error);
    if (r < 0)
        fail(snapshot, &error);
}

static void lay_base(void *data) {
    Snapshot *snapshot = data;
    snapshot->job_result =
        memory_capture_lay(&snapshot->capture, snapshot->vm->memory_fd, &snapshot->job_error);
}

static void on_laid(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (end_job(snapshot, &error) < 0)
        fail(snapshot, &error);
}

/* The guest's programs stand still by now: they wait for what is being copied, not for all of it.
 */
static int stop_laying(Snapshot *snapshot, Error *error) {
    if (!snapshot->job)
        return 0;
    memory_capture_stop_laying(&snapshot->capture);
    snapshot->job = loop_job_wait(snapshot->job);
    return end_job(snapshot, error);
}

static void on_frozen(void *data, const Frame *frame) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type != FRAME_RESULT)
        return;
    snapshot->freezing = NULL;
    int r = frame ? agent_result_read(frame, "cannot freeze the file systems", ERROR_FAILED,
                                      &snapshot->freeze, &error)
                  : error_set(&error, ERROR_GUEST_NOT_READY, ECONNRESET,
                              "the connection to the guest's agent was lost while it froze its "
                              "disks");
    if (r == 0)
        r = require_exclusive(snapshot, &error);
    if (r == 0)
        r = stop_laying(snapshot, &error);
    if (r < 0)
        fail(snapshot, &error);
    else
        go_on(snapshot, on_prepare); /* not within the link's own handler */
}

static void on_freeze_timeout(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_TIMEOUT, ETIMEDOUT,
                    "the guest's agent did not freeze the file systems in time");
    error_set_hint(&error, "a snapshot without freezing may need a file system check in its forks");
    fail(snapshot, &error); /* also thaws, should the freeze come yet */
}

bool snapshot_needs_guest(const Vm *vm) {
    return vm->snapshot && vm->snapshot->freezing;
}

static void on_no_room(void *data) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)room_error(&error);
    fail(data, &error);
}

/* Not within the call that heard of it. What did not wait for the guest yet finds it when it does.
 */
void snapshot_lacks_room(Vm *vm) {
    if (snapshot_needs_guest(vm))
        go_on(vm->snapshot, on_no_room);
}

/* Pausing */

static void undo_preparing(Snapshot *snapshot) {
    if (snapshot->prepared)
        pause_undo(snapshot);
    snapshot->prepared = false;
}

/* Where QEMU has ended, its exit tells: snapshot_end. */
static void fail_unless_ended(Snapshot *snapshot, int r, const Error *error) {
    if (r != -ECONNRESET)
        fail(snapshot, error);
}

static void on_prepare(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    snapshot->prepared = true;
    int r = pause_prepare(snapshot, &error);
    if (r < 0)
        fail_unless_ended(snapshot, r, &error);
    else
        meet(snapshot, "frozen", clock_monotonic_usec(), snapshot->in_group ? on_stop : on_pause);
}

static void on_stop(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    int r = pause_begin(snapshot, &error);
    if (r < 0)
        fail_unless_ended(snapshot, r, &error);
    else
        meet(snapshot, "paused", snapshot->vm->machine.stopped_at_usec, on_pause);
}

static void on_pause(void *data) {
    Snapshot *snapshot = data;
    Vm *vm = snapshot->vm;
    _cleanup_error_ Error error = ERROR_INIT;
    int r = pause_run(snapshot, &error);
    snapshot->paused_at_usec = 0; /* it is over */
    if (snapshot->frozen && !vm->left_frozen)
        thaw(snapshot);
    undo_preparing(snapshot);
    if (r == -ECONNRESET)
        return; /* QEMU's exit tells: snapshot_end */
    reply_stage(snapshot->reply, "write");
    if (r == 0 && snapshot->wants_adoption)
        snapshot->adoption = adopt_refusal(vm, &snapshot->capture);
    if (r == 0)
        r = start_job(snapshot, write_memory, on_written, &error);
    if (r < 0)
        fail(snapshot, &error);
}

/* Writing */

static int64_t occupied(int fd, bool whole) {
    struct stat file;
    if (fstat(fd, &file) < 0)
        return 0;
    return whole ? file.st_size : (int64_t)file.st_blocks * 512;
}

static json_t *describe(const Snapshot *snapshot) {
    json_t *ok = json_pack(
        "{s:I, s:s, s:s, s:b, s:b, s:b, s:b, s:I, s:I, s:I, s:I}", "pause_us",
        (json_int_t)snapshot->pause_usec, "capture", written_pages_way(snapshot->capture.way),
        "kind", snapshot->full ? "full" : "diff", "whole", snapshot->whole || snapshot->full,
        "unwritten", snapshot->unwritten, "frozen", snapshot->state_frozen, "held",
        snapshot->freeze.exclusive, "dirty_bytes",
        (json_int_t)memory_capture_dirty_bytes(&snapshot->capture), "memory_bytes",
        (json_int_t)occupied(snapshot->memory_fd, false), "state_bytes",
        (json_int_t)occupied(snapshot->state_fd, true), "mailbox",
        (json_int_t)MIN_OF(snapshot->freeze.value, (uint64_t)INT64_MAX));
    if (snapshot->adoption)
        json_object_set_new(ok, "adoption",
                            json_string(*snapshot->adoption ? snapshot->adoption : "offered"));
    if (*snapshot->vm->memory_owner)
        json_object_set_new(ok, "owner", json_string(snapshot->vm->memory_owner));
    json_object_update_missing_new(ok, vm_describe_agent(snapshot->vm));
    return ok;
}

/* A diff is written as long as that takes less room than a new base, of which it would be the most.
 */
static bool wants_base(const Snapshot *snapshot) {
    const MemoryCapture *capture = &snapshot->capture;
    uint64_t rest = memory_capture_rest_bytes(capture, snapshot->vm->memory_fd);
    return snapshot->wants_full || snapshot->unwritten ||
           memory_capture_dirty_bytes(capture) / 3 > rest;
}

/* A VM that booted has no snapshot below it, until it adopts one. */
static bool stands_on_nothing(const Vm *vm) {
    return vm->plan.boot == PLAN_BOOT_COLD && !*vm->memory_owner;
}

static bool is_adoptable(const Snapshot *snapshot) {
    return snapshot->adoption && !*snapshot->adoption;
}

static int write_files(Snapshot *snapshot, Error *error) {
    MemoryCapture *capture = &snapshot->capture;
    int r = 0;
    if (!snapshot->full)
        r = memory_diff_write(capture, snapshot->memory_fd, error);
    if (r == 0 && (snapshot->full || snapshot->whole))
        r = memory_capture_complete(capture, snapshot->vm->memory_fd, error);
    if (r == 0 && snapshot->full && !snapshot->unwritten)
        r = memory_capture_write(capture, snapshot->memory_fd, error);
    return r;
}

/* The daemon makes it durable when it publishes it. */
static void write_memory(void *data) {
    Snapshot *snapshot = data;
    if (!is_adoptable(snapshot))
        memory_capture_end_telling(&snapshot->capture);
    snapshot->full = stands_on_nothing(snapshot->vm) || wants_base(snapshot);
    snapshot->job_result = write_files(snapshot, &snapshot->job_error);
}

/* A daemon that was started meanwhile waits for the end of what the one before it asked for. */
static void finish(Snapshot *snapshot) {
    Vm *vm = snapshot->vm;
    bool asked = snapshot->reply != NULL;
    snapshot_free(vm);
    if (!asked)
        vm_tell(vm, json_pack("{s:s}", "event", "snapshot_ended"));
}

static void on_written(void *data) {
    Snapshot *snapshot = data;
    Vm *vm = snapshot->vm;
    _cleanup_error_ Error error = ERROR_INIT;
    if (end_job(snapshot, &error) < 0) {
        fail(snapshot, &error);
        return;
    }
    vm->snapshots++;
    reply_answer(snapshot->reply, describe(snapshot));
    if (is_adoptable(snapshot) && snapshot->reply && !vm->machine.exited)
        adopt_offer(vm, &snapshot->ram, &snapshot->capture);
    finish(snapshot);
}

/* Failing */

/* A VM that was paused is so again; what waits in the channel it finds when it goes on. The files
 * are closed before the daemon hears of it: what they took on a full disk is free then. */
static void fail(Snapshot *snapshot, const Error *error) {
    Vm *vm = snapshot->vm;
    Reply *reply = snapshot->reply;
    log_warning("snapshot: %s", error_message(error));
    if (snapshot->paused_at_usec)
        pause_give_up(snapshot);
    if (snapshot->frozen)
        thaw(snapshot);
    undo_preparing(snapshot);
    if (snapshot->runs_to_freeze && machine_call(&vm->machine, "stop", NULL, NULL, NULL) < 0)
        log_warning("cannot pause the VM again");
    finish(snapshot);
    reply_fail(reply, error);
}

/* What is being written is written to its end: the keeper has all of it. */
void snapshot_end(Vm *vm) {
    Snapshot *snapshot = vm->snapshot;
    if (!snapshot)
        return;
    if (snapshot->captured && snapshot->job) {
        snapshot->job = loop_job_wait(snapshot->job);
        on_written(snapshot);
        return;
    }
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_FAILED, ECONNRESET, "the VM ended while its snapshot was taken");
    reply_fail(snapshot->reply, &error);
    snapshot_free(vm);
}
