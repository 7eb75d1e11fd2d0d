/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "memory/diff.h"

/* A snapshot of a VM that goes on:
 *
 *   FREEZING ──the agent's DONE──▶ (prepare, pause) ──▶ WRITING ──▶ answered
 *      │ no answer in time               │ failure         │ failure
 *      └───────────▶ thaw, error ◀───────┘                 └──▶ error
 *
 * Waiting for the agent happens in the loop; preparing and the pause block it, since nothing may
 * come between. The file systems thaw as soon as the pause is over; the memory is written after
 * that, in a round of the loop of its own. Whatever fails, the VM runs on as it did before.
 *
 * When the daemon's connection ends, the snapshot goes on if its disks were switched already (it
 * is only that nobody hears of it), and is given up otherwise. */

#define FREEZE_TIMEOUT_USEC (60 * USEC_PER_SEC)

void snapshot_stage(Snapshot *snapshot, const char *name) {
    request_event(snapshot->connection, json_pack("{s:s, s:s, s:I}", "event", "stage", "name", name,
                                                  "at_us", (json_int_t)clock_monotonic_usec()));
}

void snapshot_free(Keeper *keeper) {
    Snapshot *snapshot = keeper->snapshot;
    keeper->snapshot = NULL;
    if (!snapshot)
        return;
    loop_remove(snapshot->timer);
    if (snapshot->freezing)
        link_cancel(&keeper->link, snapshot->freezing);
    for (size_t i = 0; i < snapshot->n_disks; i++) {
        fd_close(snapshot->disks[i].fd);
        fd_close(snapshot->disks[i].fd_write);
    }
    fd_close(snapshot->state_fd);
    fd_close(snapshot->memory_fd);
    guest_ram_close(&snapshot->ram);
    memory_capture_free(snapshot->capture);
    free(snapshot);
}

static void on_thawed(void *data, const Frame *frame) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type == FRAME_DONE &&
        done_read(frame, "cannot thaw the file systems", ERROR_FAILED, NULL, &error) < 0)
        log_warning("%s", error.message);
}

static void thaw(Snapshot *snapshot) {
    Keeper *keeper = snapshot->keeper;
    LinkStream *stream;
    if (link_open(&keeper->link, FRAME_THAW, NULL, 0, on_thawed, keeper, &stream) < 0)
        log_warning("cannot tell the agent to thaw");
    snapshot->frozen = false;
    port_flush(keeper);
}

/* The files are let go of before the daemon hears of it: what they took on a full disk is free
 * then. */
static void fail(Snapshot *snapshot, const Error *error) {
    Keeper *keeper = snapshot->keeper;
    Connection *connection = snapshot->connection;
    log_warning("snapshot: %s", error_message(error));
    if (snapshot->frozen)
        thaw(snapshot);
    snapshot_free(keeper);
    request_fail(connection, error);
}

/* Writing */

static json_t *hex_json(const uint8_t *bytes) {
    char text[2 * 16 + 1];
    hex_encode(bytes, 16, text);
    return json_string(text);
}

static int64_t occupied(int fd, bool whole) {
    struct stat file;
    if (fstat(fd, &file) < 0)
        return 0;
    return whole ? file.st_size : (int64_t)file.st_blocks * 512;
}

static void answer(Snapshot *snapshot, bool full) {
    const Keeper *keeper = snapshot->keeper;
    json_t *ok = json_pack(
        "{s:I, s:s, s:b, s:I, s:I, s:I, s:o, s:o, s:I, s:I}", "pause_us",
        (json_int_t)snapshot->pause_usec, "kind", full ? "full" : "diff", "frozen", snapshot->froze,
        "dirty_bytes", (json_int_t)memory_capture_dirty_bytes(snapshot->capture), "memory_bytes",
        (json_int_t)occupied(snapshot->memory_fd, false), "state_bytes",
        (json_int_t)occupied(snapshot->state_fd, true), "marker", hex_json(keeper->link.marker),
        "ram_nonce", hex_json(keeper->welcome.ram_nonce), "counter",
        (json_int_t)MIN_OF(keeper->welcome.counter, (uint64_t)INT64_MAX), "mailbox",
        (json_int_t)MIN_OF(snapshot->mailbox, (uint64_t)INT64_MAX));
    request_answer(snapshot->connection, ok);
}

/* The daemon makes it durable when it publishes it, and hashes it in the meantime. */
static int write_memory(Snapshot *snapshot, bool full, Error *error) {
    bool blank = snapshot->keeper->plan.boot == PLAN_BOOT_COLD;
    return full ? memory_capture_write_base(snapshot->capture,
                                            blank ? -1 : snapshot->keeper->memory_fd,
                                            snapshot->memory_fd, error)
                : memory_diff_write(snapshot->capture, snapshot->memory_fd, error);
}

static void on_write(void *data) {
    Snapshot *snapshot = data;
    Keeper *keeper = snapshot->keeper;
    _cleanup_error_ Error error = ERROR_INIT;
    bool full = keeper->plan.boot == PLAN_BOOT_COLD || memory_capture_wants_base(snapshot->capture);
    snapshot_stage(snapshot, "write");
    if (write_memory(snapshot, full, &error) < 0) {
        fail(snapshot, &error);
        return;
    }
    keeper->snapshots++;
    answer(snapshot, full);
    snapshot_free(keeper);
}

static void again(Snapshot *snapshot, uint64_t when_usec, LoopTimerHandler handler) {
    loop_remove(snapshot->timer);
    snapshot->timer = loop_add_timer(snapshot->keeper->loop, when_usec, handler, snapshot);
}

/* Freezing and pausing */

static int open_ram(Snapshot *snapshot, Error *error) {
    const Keeper *keeper = snapshot->keeper;
    return guest_ram_open(keeper->machine.process.pid, keeper->memory_fd, keeper->plan.memory_bytes,
                          &snapshot->ram, error);
}

static void run(Snapshot *snapshot) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r = open_ram(snapshot, &error);
    if (r == 0) {
        r = pause_prepare(snapshot, &error);
        if (r == 0)
            r = pause_run(snapshot, &error);
        if (snapshot->frozen && !snapshot->keeper->machine.held)
            thaw(snapshot);
        pause_undo(snapshot);
    }
    if (r == -ECONNRESET)
        return; /* QEMU's exit tells: snapshot_ended */
    if (r < 0)
        fail(snapshot, &error);
    else
        again(snapshot, 0, on_write);
}

static void on_run(void *data) {
    run(data);
}

static void on_frozen(void *data, const Frame *frame) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type != FRAME_DONE)
        return;
    snapshot->freezing = NULL;
    int r = -ECONNRESET;
    if (!frame)
        (void)error_set(&error, ERROR_GUEST_NOT_READY, ECONNRESET,
                        "the connection to the guest's agent was lost while it froze its disks");
    else
        r = done_read(frame, "cannot freeze the file systems", ERROR_FAILED, &snapshot->mailbox,
                      &error);
    if (r < 0)
        fail(snapshot, &error);
    else
        again(snapshot, 0, on_run); /* not within the link's own handler */
}

/* The SYNC has taken what is slow, so that the guest stands still for a moment only. */
static void on_synced(void *data, const Frame *frame) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type != FRAME_DONE)
        return;
    snapshot->freezing = NULL;
    if (!frame) {
        on_frozen(snapshot, NULL);
        return;
    }
    snapshot_stage(snapshot, "freeze");
    int r = link_open(&snapshot->keeper->link, FRAME_FREEZE, NULL, 0, on_frozen, snapshot,
                      &snapshot->freezing);
    if (r < 0) {
        (void)error_set_errno(&error, -r, "cannot tell the agent to freeze the file systems");
        fail(snapshot, &error);
    } else {
        snapshot->frozen = snapshot->froze = true; /* from here on a thaw is due */
    }
}

static void on_freeze_timeout(void *data) {
    Snapshot *snapshot = data;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_TIMEOUT, ETIMEDOUT,
                    "the guest's agent did not freeze the file systems in time");
    error_set_hint(&error, "a snapshot without freezing may need a file system check in its forks");
    fail(snapshot, &error); /* also thaws, should the freeze come yet */
}

static int freeze(Snapshot *snapshot, uint64_t timeout_usec, Error *error) {
    Keeper *keeper = snapshot->keeper;
    snapshot_stage(snapshot, "sync");
    int r = link_open(&keeper->link, FRAME_SYNC, NULL, 0, on_synced, snapshot, &snapshot->freezing);
    if (r < 0)
        return error_set_errno(error, -r, "cannot tell the agent to sync the file systems");
    again(snapshot, clock_monotonic_usec() + timeout_usec, on_freeze_timeout);
    port_flush(keeper);
    return 0;
}

/* The request */

typedef struct Wanted {
    bool freeze;
    bool stay_paused;
    uint64_t freeze_timeout_usec;
    int state, memory; /* indexes */
    size_t n_disks;
    int disks[PLAN_DISKS_MAX][2];
} Wanted;

static int read_fd(const json_t *object, const char *key, size_t n_fds, int *index, Error *error) {
    uint64_t number = 0;
    int r = json_get_u64("snapshot", object, key, &number, error);
    if (r == 0 && number >= n_fds)
        r = error_set(error, ERROR_USAGE, 0, "%s names a descriptor that did not come", key);
    if (r == 0)
        *index = (int)number;
    return r;
}

static int read_disks(const json_t *request, size_t n_fds, Wanted *wanted, Error *error) {
    const json_t *list = json_object_get(request, "disks"), *item;
    size_t i;
    int r = 0;
    if (json_array_size(list) > PLAN_DISKS_MAX)
        return error_set(error, ERROR_USAGE, 0, "too many disks");
    json_array_foreach((json_t *)list, i, item) {
        if (r == 0)
            r = read_fd(item, "fd", n_fds, &wanted->disks[i][0], error);
        if (r == 0)
            r = read_fd(item, "fd_write", n_fds, &wanted->disks[i][1], error);
        wanted->n_disks++;
    }
    return r;
}

static int read_request(const json_t *request, size_t n_fds, Wanted *wanted, Error *error) {
    *wanted = (Wanted){.freeze = true, .freeze_timeout_usec = FREEZE_TIMEOUT_USEC};
    int r = json_opt_bool("snapshot", request, "freeze", &wanted->freeze, error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "stay_paused", &wanted->stay_paused, error);
    if (r == 0)
        r = json_opt_u64("snapshot", request, "freeze_timeout_us", &wanted->freeze_timeout_usec,
                         error);
    if (r == 0)
        r = read_fd(request, "state_fd", n_fds, &wanted->state, error);
    if (r == 0)
        r = read_fd(request, "memory_fd", n_fds, &wanted->memory, error);
    return r == 0 ? read_disks(request, n_fds, wanted, error) : r;
}

static size_t count_writable(const Plan *plan) {
    size_t count = 0;
    for (size_t i = 0; i < plan->n_disks; i++)
        count += !plan->disks[i].read_only;
    return count;
}

static int check(const Keeper *keeper, const Wanted *wanted, const int *fds, Error *error) {
    if (keeper->state != KEEPER_RUNNING && keeper->state != KEEPER_PAUSED)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
    if (keeper->snapshot)
        return error_set(error, ERROR_CONFLICT, EBUSY, "a snapshot is being taken already");
    if (keeper->link.state != LINK_UP)
        return error_set(error, ERROR_GUEST_NOT_READY, ENOTCONN,
                         "the guest's agent does not answer, so a clone could not be greeted");
    if (wanted->n_disks > 0 && wanted->n_disks != count_writable(&keeper->plan))
        return error_set(error, ERROR_USAGE, 0, "overlays came for %zu disks, the VM has %zu",
                         wanted->n_disks, count_writable(&keeper->plan));
    if ((fcntl(fds[wanted->state], F_GETFL) & O_ACCMODE) != O_WRONLY)
        return error_set(error, ERROR_USAGE, 0, "state_fd is not open for writing only");
    return 0;
}

/* Of the descriptors nothing is closed twice: each is taken once. */
static int take(int *fds, int index, int *to, Error *error) {
    if (fds[index] < 0)
        return error_set(error, ERROR_USAGE, 0, "a descriptor is named twice");
    *to = TAKE_FD(fds[index]);
    return 0;
}

static int take_fds(Snapshot *snapshot, const Wanted *wanted, int *fds, Error *error) {
    const Plan *plan = &snapshot->keeper->plan;
    int r = take(fds, wanted->state, &snapshot->state_fd, error);
    if (r == 0)
        r = take(fds, wanted->memory, &snapshot->memory_fd, error);
    for (size_t i = 0; r == 0 && i < plan->n_disks && snapshot->n_disks < wanted->n_disks; i++) {
        if (plan->disks[i].read_only)
            continue;
        SnapshotDisk *disk = &snapshot->disks[snapshot->n_disks];
        const int *indexes = wanted->disks[snapshot->n_disks++];
        *disk = (SnapshotDisk){.index = i, .fd = -1, .fd_write = -1};
        r = take(fds, indexes[0], &disk->fd, error);
        if (r == 0)
            r = take(fds, indexes[1], &disk->fd_write, error);
    }
    return r;
}

static Snapshot *make(Keeper *keeper, Connection *connection, const Wanted *wanted) {
    Snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return NULL;
    snapshot->keeper = keeper;
    snapshot->connection = connection;
    snapshot->state_fd = snapshot->memory_fd = -1;
    snapshot->ram = GUEST_RAM_INIT;
    snapshot->stay_paused = wanted->stay_paused;
    snapshot->was_paused = keeper->state == KEEPER_PAUSED;
    return snapshot;
}

int snapshot_begin(Keeper *keeper, Connection *connection, const json_t *request, int *fds,
                   size_t n_fds, Error *error) {
    Wanted wanted;
    int r = read_request(request, n_fds, &wanted, error);
    if (r == 0)
        r = check(keeper, &wanted, fds, error);
    if (r < 0)
        return r;
    keeper->snapshot = make(keeper, connection, &wanted);
    if (!keeper->snapshot)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    r = take_fds(keeper->snapshot, &wanted, fds, error);
    if (r == 0 && wanted.freeze && !keeper->snapshot->was_paused)
        r = freeze(keeper->snapshot, wanted.freeze_timeout_usec, error);
    else if (r == 0)
        again(keeper->snapshot, 0, on_run);
    if (r < 0) {
        snapshot_free(keeper);
        return r;
    }
    request_wait_for_snapshot(connection);
    return 0;
}

/* Ends */

void snapshot_connection_gone(Keeper *keeper, const Connection *connection) {
    Snapshot *snapshot = keeper->snapshot;
    if (!snapshot || snapshot->connection != connection)
        return;
    snapshot->connection = NULL;
    if (snapshot->switched || snapshot->capture)
        return;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_CANCELLED, ECANCELED, "nobody waits for it any more");
    fail(snapshot, &error);
}

void snapshot_ended(Keeper *keeper) {
    if (!keeper->snapshot)
        return;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_FAILED, ECONNRESET, "the VM ended while its snapshot was taken");
    request_fail(keeper->snapshot->connection, &error);
    snapshot_free(keeper);
}
