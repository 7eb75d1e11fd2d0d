/* SPDX-License-Identifier: Apache-2.0 */

/* Making a VM's row say what is true.
 *
 * The keeper knows; the row remembers. Whenever something may have changed (a keeper spoke or its
 * connection ended, the daemon started) vm_refresh asks the keeper:
 *
 *   it answers        → starting, running or paused, as it says; it is watched
 *   it is not there   → the run is over: what is left of its processes is ended, by identity, and
 *                       the end is recorded from exit.json, which the keeper wrote into the VM's
 *                       folder. A --rm VM is removed.
 *   it cannot be asked → unknown, and nothing is touched
 *
 * All of it is done under the VM's lock and is idempotent, so it does not matter how often or by
 * whom it is called: an operation that ended the VM itself has recorded the end before the
 * watcher's call gets the lock, which then finds nothing to do. */

#include "run/keeper_status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/process.h"
#include "base/str.h"
#include "frozen/layers.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "proto/keeper.h"
#include "run/interrupted_save.h"
#include "run/nice.h"
#include "run/run_end.h"
#include "run/watcher.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define STATUS_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define SAVING_TIMEOUT_USEC (1800 * USEC_PER_SEC)

/* ---- asking the keeper ---- */

/* -ENODATA when nobody is there, as opposed to any other failure, such as an answer that is an
 * error. */
static int connect_keeper(int dir_fd, KeeperConnection *connection, Error *error) {
    int r = keeper_connect(dir_fd, connection, error);
    return r == -ECONNREFUSED || r == -ENOENT ? -ENODATA : r;
}

static int ask_status(int dir_fd, json_t **status, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status");
    _cleanup_json_ json_t *answer = NULL;
    uint64_t deadline = clock_monotonic_usec() + STATUS_TIMEOUT_USEC;
    KeeperConnection connection = {.fd = -1};
    int r = connect_keeper(dir_fd, &connection, error);
    if (r < 0)
        return r;
    r = keeper_send(&connection, request, NULL, 0, error);
    if (r >= 0)
        r = keeper_receive(&connection, deadline, -1, &answer, error);
    keeper_close(&connection);
    if (r == -ECONNRESET || r == -EPIPE)
        return -ENODATA;
    if (r < 0)
        return r;
    if (!json_is_object(json_object_get(answer, "ok")))
        return error_set(error, ERROR_FAILED, EPROTO, "its keeper does not tell its status");
    *status = json_incref(json_object_get(answer, "ok"));
    return 0;
}

static void read_process(const json_t *status, const char *pid_key, const char *ticks_key,
                         ProcessIdentity *process) {
    ProcessIdentity identity = {
        .pid = (pid_t)json_integer_value(json_object_get(status, pid_key)),
        .start_ticks = (uint64_t)json_integer_value(json_object_get(status, ticks_key))};
    if (identity.pid > 0 && identity.start_ticks == 0)
        (void)process_identify(identity.pid, &identity);
    if (identity.pid > 0 && identity.start_ticks > 0)
        *process = identity;
}

void row_read_facts(VmRow *row, const json_t *facts) {
    const char *boot = json_string_value(json_object_get(facts, "boot"));
    const char *accel = json_string_value(json_object_get(facts, "accel"));
    const char *version = json_string_value(json_object_get(facts, "agent_version"));
    json_t *held = json_object_get(facts, "held");
    VmRuntime *runtime = &row->runtime;
    /* The keeper knows of a restore; what it was for is the daemon's knowledge. */
    if (boot && !*runtime->boot)
        str_set(runtime->boot, boot);
    if (accel)
        str_set(runtime->accel, accel);
    if (version)
        str_set(runtime->agent_version, version);
    if (json_is_boolean(held))
        json_replace(&runtime->held, json_incref(held));
    read_process(facts, "keeper_pid", "keeper_start_ticks", &runtime->keeper);
    read_process(facts, "qemu_pid", "qemu_start_ticks", &runtime->qemu);
}

void row_read_memory(Home *home, VmRow *row, const json_t *facts) {
    const char *owner = json_string_value(json_object_get(facts, "owner"));
    uint64_t inode = (uint64_t)json_integer_value(json_object_get(facts, "base_inode"));
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    VmRuntime *runtime = &row->runtime;
    if (!owner || !inode)
        return;
    str_set(runtime->memory_owner, owner);
    runtime->memory_adopted = true;
    runtime->memory_snapshot[0] = '\0';
    runtime->memory_inode = inode;
    if (snapshots_get(home->store, owner, &snapshot, NULL) < 0)
        return;
    free(runtime->memory_base);
    runtime->memory_base = snapshot_path(home, owner, snapshot.data.files.memory.name);
}

/* The keeper's word for its state, as ours. -ENOENT: "waiting" (it was told nothing) or "ended". */
static int read_state(const json_t *status, VmState *state) {
    static const VmState states[] = {STATE_STARTING, STATE_RUNNING, STATE_PAUSED, STATE_STOPPING,
                                     STATE_WARM};
    const char *said = json_string_value(json_object_get(status, "state"));
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (str_equal(said, vm_state_name(states[i]))) {
            *state = states[i];
            return 0;
        }
    return -ENOENT;
}

/* A keeper whose daemon died before the plan was sent: it never will be. */
static int end_waiting_keeper(const VmRow *row, Error *error) {
    ProcessIdentity keeper = row->runtime.keeper;
    int r = run_end_process(&keeper, "keeper", error);
    return r < 0 ? r : -ENODATA;
}

static int watch_keeper(int dir_fd, KeeperConnection *connection, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "watch");
    int r = connect_keeper(dir_fd, connection, error);
    return r < 0 ? r : keeper_send(connection, request, NULL, 0, error);
}

/* A snapshot that the last daemon asked for may still be under way: its end, of which the keeper
 * tells those who watch it, is waited for, since only then it is known which disk the VM writes to.
 */
static int await_saved(Home *home, int dir_fd, const json_t *status, json_t **last, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + SAVING_TIMEOUT_USEC;
    _cleanup_json_ json_t *now = json_incref((json_t *)status);
    KeeperConnection watch = {.fd = -1};
    int r = 0;
    if (json_is_true(json_object_get(now, "snapshotting")))
        r = watch_keeper(dir_fd, &watch, error);
    while (r >= 0 && json_is_true(json_object_get(now, "snapshotting"))) {
        _cleanup_json_ json_t *event = NULL; /* the first comes at once: its state */
        r = keeper_receive(&watch, deadline, home->closing_fd, &event, error);
        json_replace(&now, NULL);
        if (r >= 0)
            r = ask_status(dir_fd, &now, error);
    }
    keeper_close(&watch);
    if (r < 0)
        return r == -ECONNRESET || r == -EPIPE ? -ENODATA : r;
    *last = TAKE_PTR(now);
    return 0;
}

/* What a crash in the middle of a snapshot or of a standby left. */
static int recover_save(Home *home, VmRow *row, int dir_fd, const json_t *status, VmState *state,
                        Error *error) {
    _cleanup_json_ json_t *last = NULL, *request = NULL, *ok = NULL;
    bool go_on = false;
    int r;
    if (!layer_is_freezing(row) && !row->runtime.standing_by)
        return 0;
    r = await_saved(home, dir_fd, status, &last, error);
    if (r >= 0)
        r = run_recover_save(home, row, last, &go_on, error);
    if (r < 0)
        return r;
    (void)read_state(last, state);
    if (!go_on || *state != STATE_PAUSED)
        return 0;
    request = json_pack("{s:s}", "op", "resume");
    r = keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + STATUS_TIMEOUT_USEC, -1,
                    NULL, NULL, &ok, error);
    if (r >= 0)
        *state = STATE_RUNNING;
    return r;
}

/* The keeper's word on whether the guest answers (keeper/guest/pulse.c), and whether the host has
 * room for what it writes (keeper/tasks/room.c). */
static void read_troubles(VmRow *row, const json_t *status) {
    row->runtime.silent = json_is_false(json_object_get(status, "responsive"));
    row->runtime.no_room = json_is_true(json_object_get(status, "no_room"));
}

/* Once the row says so: who hears of it may look. */
static void tell_troubles(Home *home, const VmRow *row, bool was_silent, bool had_no_room) {
    bool silent = row->runtime.silent, no_room = row->runtime.no_room;
    if (no_room && !had_no_room)
        log_warning("%s is paused: the host has no room for what it writes", row->name);
    if (row_is_hidden(row))
        return;
    if (silent != was_silent)
        home_event(home, silent ? "vm.unresponsive" : "vm.responsive", row->id, row->name, NULL);
    if (no_room != had_no_room)
        home_event(home, no_room ? "vm.no_room" : "vm.room", row->id, row->name, NULL);
}

static int adopt(Home *home, VmRow *row, int dir_fd, const json_t *status, Error *error) {
    const char *id = json_string_value(json_object_get(status, "vm_id"));
    const bool was_silent = row->runtime.silent, had_no_room = row->runtime.no_room;
    ProcessIdentity keeper;
    bool program_ended;
    VmState state;
    int r;
    if (id && *id && !str_equal(id, row->id))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "its keeper says that it keeps %.40s", id);
    row_read_facts(row, status);
    row_read_memory(home, row, status);
    if (str_equal(json_string_value(json_object_get(status, "state")), "waiting"))
        return end_waiting_keeper(row, error);
    if (read_state(status, &state) < 0)
        return -ENODATA;
    r = recover_save(home, row, dir_fd, status, &state, error);
    if (r < 0)
        return r;
    keeper = row->runtime.keeper;
    r = watcher_add_vm(home->watcher, row->id, keeper.pid, dir_fd, error);
    if (r < 0)
        return r;
    read_troubles(row, status);
    program_ended = row_read_program(row, status);
    vm_set_nice(row, &keeper, NICE_RUNNING); /* the daemon may have died while it started */
    r = row_set_state(home, row, state, NULL, error);
    if (r >= 0)
        tell_troubles(home, row, was_silent, had_no_room);
    if (r >= 0 && program_ended && !row_is_hidden(row))
        home_event(home, "vm.program_ended", row->id, row->name, row->runtime.program);
    return r == -ENOENT ? -ESTALE : r; /* a warm clone was claimed: it is its claimer's now */
}

static int ask_and_adopt(Home *home, VmRow *row, int dir_fd, Error *error) {
    _cleanup_json_ json_t *status = NULL;
    int r = ask_status(dir_fd, &status, error);
    return r < 0 ? r : adopt(home, row, dir_fd, status, error);
}

int run_refresh(Home *home, VmRow *row, RunEnd *end, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_close_ int dir_fd = -1;
    int r;
    if (!vm_state_is_active(row->state))
        return 0;
    r = vm_folder_open(home, row->id, &dir_fd, &failure);
    if (r >= 0)
        r = ask_and_adopt(home, row, dir_fd, &failure);
    if (r >= 0 || r == -ESTALE)
        return 0;
    if (r == -ENODATA || r == -ENOENT)
        return run_record_end(home, row, end, error);
    if (r == -ECANCELED) /* the next daemon looks again */
        return error_move(error, &failure);
    log_warning("cannot ask the keeper of %s: %s", row->name, error_message(&failure));
    return row_set_state(home, row, STATE_UNKNOWN, NULL, error);
}
