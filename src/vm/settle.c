/* SPDX-License-Identifier: Apache-2.0 */

/* Making a VM's row say what is true.
 *
 * The keeper knows; the row remembers. Whenever something may have changed (a keeper spoke or its
 * connection ended, the daemon started) vm_settle asks the keeper:
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

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/keeper.h"
#include "vm/snapshot_internal.h"

#define STATUS_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define SAVING_TIMEOUT_USEC (1800 * USEC_PER_SEC)

/* --- asking the keeper
 * ---------------------------------------------------------------------------- */

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

static void take_process(VmRow *row, const char *who, const json_t *status, const char *pid_key,
                         const char *ticks_key) {
    ProcessIdentity identity = {
        .pid = (pid_t)json_integer_value(json_object_get(status, pid_key)),
        .start_ticks = (uint64_t)json_integer_value(json_object_get(status, ticks_key))};

    if (identity.pid > 0 && identity.start_ticks == 0)
        (void)process_identify(identity.pid, &identity);
    if (identity.pid > 0 && identity.start_ticks > 0)
        row_set_process(row, who, &identity);
}

/* What a start's answer and a status have in common. */
void row_take_facts(VmRow *row, const json_t *facts) {
    static const char *const keys[] = {"boot",   "accel",     "agent_version",
                                       "marker", "ram_nonce", "counter"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        json_t *value = json_object_get(facts, keys[i]);

        /* The keeper knows of a restore; what it was for is the daemon's knowledge. */
        if (i == 0 && *row_text(row, "boot"))
            continue;
        if (value && !json_is_null(value))
            row_set(row, keys[i], json_incref(value));
    }
    take_process(row, "keeper", facts, "keeper_pid", "keeper_start_ticks");
    take_process(row, "qemu", facts, "qemu_pid", "qemu_start_ticks");
}

/* The keeper's word for its state, as ours; NULL for "waiting" (it was told nothing) and "ended".
 */
static const char *state_from_status(const json_t *status) {
    static const char *const states[] = {STATE_STARTING, STATE_RUNNING, STATE_PAUSED,
                                         STATE_STOPPING, STATE_WARM};
    const char *said = json_string_value(json_object_get(status, "state"));

    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (str_equal(said, states[i]))
            return states[i];
    return NULL;
}

/* A keeper whose daemon died before the plan was sent: it never will be. */
static int end_waiting_keeper(const VmRow *row, Error *error) {
    ProcessIdentity keeper = row_process(row, "keeper");
    int r = vm_end_process(&keeper, "keeper", error);

    return r < 0 ? r : -ENODATA;
}

/* A snapshot that the last daemon asked for may still be under way: its end is waited for, since
 * only then it is known which disk the VM writes to. The keeper tells nobody when that is. */
static int await_saved(int dir_fd, const json_t *status, json_t **last, Error *error) {
    uint64_t end_usec = clock_monotonic_usec() + SAVING_TIMEOUT_USEC;
    _cleanup_json_ json_t *now = json_incref((json_t *)status);

    while (json_is_true(json_object_get(now, "snapshotting"))) {
        json_t *next = NULL;
        int r;

        if (clock_monotonic_usec() > end_usec)
            return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "its snapshot does not end");
        (void)poll(NULL, 0, 50);
        r = ask_status(dir_fd, &next, error);
        if (r < 0)
            return r;
        json_decref(now);
        now = next;
    }
    *last = TAKE_PTR(now);
    return 0;
}

/* What a crash in the middle of a snapshot or of a standby left. */
static int settle_saving(Ramet *ramet, VmRow *row, int dir_fd, const json_t *status,
                         const char **state, Error *error) {
    _cleanup_json_ json_t *last = NULL, *request = NULL, *ok = NULL;
    bool go_on = false;
    int r;

    if (!*layer_freezing_file(row) && !json_object_get(row->runtime, "standing_by"))
        return 0;
    r = await_saved(dir_fd, status, &last, error);
    if (r >= 0)
        r = vm_settle_snapshot(ramet, row, last, &go_on, error);
    if (r < 0)
        return r;
    if (state_from_status(last))
        *state = state_from_status(last);
    if (!go_on || !str_equal(*state, STATE_PAUSED))
        return 0;
    request = json_pack("{s:s}", "op", "resume");
    r = keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + STATUS_TIMEOUT_USEC, -1,
                    NULL, NULL, &ok, error);
    if (r >= 0)
        *state = STATE_RUNNING;
    return r;
}

static int adopt(Ramet *ramet, VmRow *row, int dir_fd, const json_t *status, Error *error) {
    const char *id = json_string_value(json_object_get(status, "vm_id"));
    const char *state = state_from_status(status);
    ProcessIdentity keeper;
    int r;

    if (id && *id && !str_equal(id, row->id))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "its keeper says that it keeps %.40s", id);
    row_take_facts(row, status);
    if (str_equal(json_string_value(json_object_get(status, "state")), "waiting"))
        return end_waiting_keeper(row, error);
    if (!state)
        return -ENODATA;
    r = settle_saving(ramet, row, dir_fd, status, &state, error);
    if (r < 0)
        return r;
    keeper = row_process(row, "keeper");
    r = watcher_add_vm(ramet->watcher, row->id, keeper.pid, dir_fd, error);
    if (r < 0)
        return r;
    vm_set_nice(row, &keeper, NICE_RUNNING); /* the daemon may have died while it started */
    r = row_set_state(ramet, row, state, NULL, error);
    return r == -ENOENT ? -ESTALE : r; /* a warm clone was claimed: it is its claimer's now */
}

static int ask_and_adopt(Ramet *ramet, VmRow *row, int dir_fd, Error *error) {
    _cleanup_json_ json_t *status = NULL;
    int r = ask_status(dir_fd, &status, error);

    return r < 0 ? r : adopt(ramet, row, dir_fd, status, error);
}

int vm_settle_locked(Ramet *ramet, VmRow *row, RunEnd *end, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_close_ int dir_fd = -1;
    int r;

    if (!state_is_active(row->state))
        return 0;
    r = vm_folder_open(ramet, row->id, &dir_fd, &failure);
    if (r >= 0)
        r = ask_and_adopt(ramet, row, dir_fd, &failure);
    if (r >= 0 || r == -ESTALE)
        return 0;
    if (r == -ENODATA || r == -ENOENT)
        return vm_settle_ended(ramet, row, end, error);
    log_warning("cannot ask the keeper of %s: %s", row->name, error_message(&failure));
    return row_set_state(ramet, row, STATE_UNKNOWN, NULL, error);
}

int vm_start_again(Ramet *ramet, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    Operation operation;
    int r;

    operation_init(&operation, 0, -1);
    operation_enter(&operation, "plan");
    r = vm_start_locked(ramet, &operation, lock, row, error);
    if (r < 0 && row->remove && vm_remove_locked(ramet, row, &undo) < 0)
        log_warning("cannot remove %s: %s", row->name, error_message(&undo));
    return r;
}

void vm_settle(Ramet *ramet, const char *id) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    RunEnd end = RUN_GOES_ON;
    int r;

    /* What is not looked at before the daemon ends is looked at when the next one starts. */
    r = row_lock(ramet, id, "being looked at", ramet->closing_fd, &lock, &row, &error);
    if (r >= 0)
        r = vm_settle_locked(ramet, &row, &end, &error);
    if (r >= 0 && end == RUN_REBOOTS && !ramet_is_closing(ramet))
        r = vm_start_again(ramet, lock, &row, &error);
    if (r < 0 && r != -ENOENT && r != -ECANCELED)
        log_warning("cannot settle VM %s: %s", id, error_message(&error));
}

/* --- threads
 * --------------------------------------------------------------------------------------- */

typedef struct Settling {
    char id[VM_ID_SIZE];
    struct Settling *next;
} Settling;

static void unlink_settling(Ramet *ramet, const Settling *settling) {
    Settling **link = &ramet->settling;

    (void)pthread_mutex_lock(&ramet->mutex);
    while (*link && *link != settling)
        link = &(*link)->next;
    if (*link)
        *link = settling->next;
    (void)pthread_mutex_unlock(&ramet->mutex);
}

static void settle(Ramet *ramet, void *data) {
    Settling *settling = data;

    unlink_settling(ramet, settling); /* from here on another change needs another look */
    vm_settle(ramet, settling->id);
    free(settling);
}

/* NULL: one is on its way already. */
static Settling *link_settling(Ramet *ramet, const char *id) {
    Settling *settling;

    (void)pthread_mutex_lock(&ramet->mutex);
    for (settling = ramet->settling; settling; settling = settling->next)
        if (str_equal(settling->id, id))
            break;
    if (settling) {
        (void)pthread_mutex_unlock(&ramet->mutex);
        return NULL;
    }
    settling = calloc(1, sizeof(*settling));
    if (!settling)
        abort();
    (void)snprintf(settling->id, sizeof(settling->id), "%s", id);
    settling->next = ramet->settling;
    ramet->settling = settling;
    (void)pthread_mutex_unlock(&ramet->mutex);
    return settling;
}

void settle_later(Ramet *ramet, const char *id) {
    Settling *settling = link_settling(ramet, id);

    if (!settling || ramet_work(ramet, settle, settling) >= 0)
        return;
    log_error("nobody looks at VM %s", id);
    unlink_settling(ramet, settling);
    free(settling);
}
