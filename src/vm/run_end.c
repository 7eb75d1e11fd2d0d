/* SPDX-License-Identifier: Apache-2.0 */

/* The end of a run: whatever process is left of it is ended, by identity, and how it ended is taken
 * from exit.json, which the keeper wrote into the VM's folder. */

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "vm/pool_internal.h"
#include "vm/snapshot_internal.h"

#define END_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define LAST_WORD_USEC (30 * USEC_PER_SEC)
#define EXIT_FILE "exit.json"
#define EXIT_MAX_BYTES (64 * 1024)

int vm_end_process(const ProcessIdentity *identity, const char *who, Error *error) {
    int r;

    if (identity->pid <= 0)
        return 0;
    r = process_signal(identity, SIGKILL);
    if (r == -ESRCH)
        return 0;
    if (r < 0)
        return error_set_errno(error, -r, "cannot end the %s (process %d)", who, identity->pid);
    r = process_wait_gone(identity, clock_monotonic_usec() + END_TIMEOUT_USEC);
    if (r < 0)
        return error_set_errno(error, -r, "the %s (process %d) does not end", who, identity->pid);
    return 0;
}

int vm_end_processes(Ramet *ramet, const VmRow *row, Error *error) {
    ProcessIdentity keeper = row_process(row, "keeper"), qemu = row_process(row, "qemu");
    int r = vm_end_process(&keeper, "keeper", error);
    int q = vm_end_process(&qemu, "QEMU", r < 0 ? NULL : error);

    return r < 0 ? r : q;
}

/* --- recording the end ------------------------------------------------------------------------
 */

static json_t *read_exit(int dir_fd) {
    _cleanup_free_ char *text = NULL;
    json_t *json = NULL;
    size_t size;

    if (fd_read_file_at(dir_fd, EXIT_FILE, EXIT_MAX_BYTES, &text, &size) < 0 ||
        json_parse(EXIT_FILE, text, size, &json, NULL) < 0)
        return NULL;
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

/* Ends that were asked for, by us or from within the guest (src/keeper/end.c has all causes). */
static bool cause_is_clean(const char *cause) {
    static const char *const clean[] = {"poweroff", "reboot", "killed", "owner-gone"};

    for (size_t i = 0; cause && i < ARRAY_SIZE(clean); i++)
        if (str_equal(cause, clean[i]))
            return true;
    return false;
}

static json_t *failure_json(const char *message, const char *hint) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_json_ json_t *wrapped = NULL;

    (void)error_set(&failure, ERROR_FAILED, 0, "%s", message);
    if (hint)
        error_set_hint(&failure, "%s", hint);
    wrapped = json_from_error(&failure);
    return json_incref(json_object_get(wrapped, "error"));
}

/* "it crashed"-like text with QEMU's and the console's last lines, as far as exit.json has them. */
static char *describe_end(const VmRow *row, const json_t *ended) {
    const char *cause = json_string_value(json_object_get(ended, "cause"));
    const char *qemu = json_string_value(json_object_get(ended, "qemu"));
    const char *console = json_string_value(json_object_get(ended, "console"));
    json_int_t signal = json_integer_value(json_object_get(ended, "signal"));
    StrBuf text = {0};

    if (!ended && str_equal(row->state, STATE_STARTING))
        return str_copy("the daemon ended while it was being started");
    if (!ended)
        return str_copy("its keeper is gone and left no word");
    strbuf_add_format(&text, "its QEMU ended: %s", cause ? cause : "the cause is not known");
    if (signal)
        strbuf_add_format(&text, " (signal %lld)", (long long)signal);
    if (qemu && *qemu)
        strbuf_add_format(&text, ": %s", qemu);
    if (console && *console)
        strbuf_add_format(&text, "; console:\n%s", console);
    return strbuf_take(&text);
}

/* What the row says of the end: exit.json as it is, and for an unclean one the error. */
static const char *note_end(VmRow *row, json_t *ended) {
    const char *cause = json_string_value(json_object_get(ended, "cause"));
    const char *state = STATE_STOPPED;

    if (!str_equal(row->state, STATE_STOPPING) && !cause_is_clean(cause)) {
        _cleanup_free_ char *text = describe_end(row, ended);

        state = STATE_FAILED;
        row_set(row, "error", failure_json(text, "see ramet logs"));
    }
    row_set(row, "exit", ended ? json_incref(ended) : json_pack("{s:s}", "cause", "keeper-gone"));
    row_set_process(row, "keeper", NULL);
    row_set_process(row, "qemu", NULL);
    row_set(row, "memory_snapshot", NULL);
    row_set(row, "memory_owner", NULL);
    row_set(row, "standby", NULL);
    return state;
}

/* A guest that reboots ends its QEMU (-no-reboot), and is started again. A --rm VM whose client has
 * lost its session over that is not. */
static bool wants_reboot(const VmRow *row, const json_t *ended) {
    const char *cause = json_string_value(json_object_get(ended, "cause"));

    return str_equal(cause, "reboot") && !str_equal(row->state, STATE_STOPPING) &&
           !(row->remove && row->attached);
}

/* A keeper that answers no more is about to write its last word; only one that never ends is
 * killed. */
static void wait_for_last_word(const VmRow *row) {
    ProcessIdentity keeper = row_process(row, "keeper");

    if (keeper.pid > 0)
        (void)process_wait_gone(&keeper, clock_monotonic_usec() + LAST_WORD_USEC);
}

/* A resume broke off before the guest wrote anything: nothing is lost. */
static int return_to_standby(Ramet *ramet, VmRow *row, RunEnd *end, Error *error) {
    row_set_process(row, "keeper", NULL);
    row_set_process(row, "qemu", NULL);
    row_set(row, "memory_snapshot", NULL);
    row_set(row, "memory_owner", NULL);
    if (end)
        *end = RUN_ENDED;
    return row_set_state(ramet, row, STATE_STANDBY, NULL, error);
}

/* A pool's clone: nobody knew of it, and the pool is filled again. */
static int remove_hidden(Ramet *ramet, VmRow *row, RunEnd *end, Error *error) {
    int r = vm_remove_locked(ramet, row, error);

    pools_kick(ramet);
    if (r >= 0 && end)
        *end = RUN_REMOVED;
    return r;
}

static int record_end(Ramet *ramet, VmRow *row, int dir_fd, RunEnd *end, Error *error) {
    _cleanup_json_ json_t *ended = NULL;
    RunEnd what = RUN_ENDED;
    bool undo = str_equal(row->state, STATE_STARTING) && row_is_half_run(row);
    const char *state;
    bool go_on = false;
    int r;

    wait_for_last_word(row);
    r = vm_end_processes(ramet, row, error);
    if (r < 0)
        return r;
    if (*row_text(row, "hidden"))
        return remove_hidden(ramet, row, end, error);
    r = vm_settle_snapshot(ramet, row, NULL, &go_on, error);
    if (r < 0)
        return r;
    if (str_equal(row->state, STATE_STARTING) && vm_standby_survives(ramet, row))
        return return_to_standby(ramet, row, end, error);
    if (dir_fd >= 0)
        ended = read_exit(dir_fd);
    if (wants_reboot(row, ended))
        what = RUN_REBOOTS;
    state = note_end(row, ended);
    r = row_set_state(ramet, row, state, json_object_get(row->runtime, "exit"), error);
    if (r >= 0)
        lineage_collect(ramet);
    if (r >= 0 && (row->remove || undo) && what == RUN_ENDED) {
        r = vm_remove_locked(ramet, row, error);
        what = RUN_REMOVED;
    }
    if (r >= 0 && end)
        *end = what;
    return r;
}

int vm_settle_ended(Ramet *ramet, VmRow *row, RunEnd *end, Error *error) {
    _cleanup_close_ int dir_fd = -1;

    (void)vm_folder_open(ramet, row->id, &dir_fd, NULL);
    return record_end(ramet, row, dir_fd, end, error);
}
