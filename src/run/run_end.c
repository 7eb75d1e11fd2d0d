/* SPDX-License-Identifier: Apache-2.0 */

/* The end of a run: whatever process is left of it is ended, by identity, and how it ended is taken
 * from exit.json, which the keeper wrote into the VM's folder. */

#include "run/run_end.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process/process.h"
#include "base/str.h"
#include "frozen/disks.h"
#include "home/home.h"
#include "home/policy.h"
#include "home/row.h"
#include "limits/enforce.h"
#include "network/attach.h"
#include "run/interrupted_save.h"
#include "store/vms.h"

#define END_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define LAST_WORD_USEC (30 * USEC_PER_SEC)
#define EXIT_FILE "exit.json"
#define EXIT_MAX_BYTES (64 * 1024)

int run_end_process(const ProcessIdentity *identity, const char *who, Error *error) {
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

int run_end_processes(Home *home, const VmRow *row, Error *error) {
    ProcessIdentity keeper = row->runtime.keeper, qemu = row->runtime.qemu;
    int r = run_end_process(&keeper, "keeper", error);
    int q = run_end_process(&qemu, "QEMU", r < 0 ? NULL : error);
    network_detach(home, row);
    if (row->runtime.has_cgroup)
        limits_forget(home, row);
    return r < 0 ? r : q;
}

/* ---- recording the end ---- */

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

/* Ends that were asked for, by us or from within the guest (src/keeper/tasks/end.c has all causes).
 */
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
    if (!ended && row->state == STATE_STARTING)
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
    return strbuf_steal(&text);
}

bool row_read_program(VmRow *row, const json_t *facts) {
    json_t *program = json_object_get(facts, "program");
    if (!json_is_object(program) || json_equal(program, row->runtime.program))
        return false;
    json_replace(&row->runtime.program, json_incref(program));
    return true;
}

/* By the time at which its QEMU began. */
static uint64_t ran_usec(const VmRow *row, const Now *now) {
    uint64_t hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t began = row->runtime.qemu.start_ticks * (USEC_PER_SEC / hertz);
    return row->runtime.qemu.start_ticks && began < now->boot_usec ? now->boot_usec - began : 0;
}

static void plan_next_run(VmRow *row, const char *cause) {
    PolicyEnd end = row->state == STATE_STOPPING     ? END_ASKED
                    : str_equal(cause, "poweroff")   ? END_POWEROFF
                    : str_equal(cause, "owner-gone") ? END_ASKED
                                                     : END_FAILURE;
    Now now = now_read();
    if (!vm_policy_is_none(&row->spec.policy))
        (void)policy_note_end(row, end, ran_usec(row, &now), &now);
}

/* What the row says of the end: exit.json as it is, and for an unclean one the error. */
static VmState note_end(VmRow *row, json_t *ended) {
    const char *cause = json_string_value(json_object_get(ended, "cause"));
    VmState state = STATE_STOPPED;
    if (row->state != STATE_STOPPING && !cause_is_clean(cause)) {
        _cleanup_free_ char *text = describe_end(row, ended);
        state = STATE_FAILED;
        json_replace(&row->runtime.error, failure_json(text, "see ramet logs"));
    }
    plan_next_run(row, cause);
    (void)row_read_program(row, ended);
    json_replace(&row->runtime.exit,
                 ended ? json_incref(ended) : json_pack("{s:s}", "cause", "keeper-gone"));
    row_clear_processes(row);
    row->runtime.standby[0] = '\0';
    row->runtime.silent = row->runtime.no_room = false;
    return state;
}

/* A guest that reboots ends its QEMU (-no-reboot), and is started again. A --rm VM whose client has
 * lost its session over that is not. */
static bool wants_reboot(const VmRow *row, const json_t *ended) {
    const char *cause = json_string_value(json_object_get(ended, "cause"));
    return str_equal(cause, "reboot") && row->state != STATE_STOPPING &&
           !(row->remove && row->attached);
}

/* A keeper that answers no more is about to write its last word; only one that never ends is
 * killed. */
static void wait_for_last_word(const VmRow *row) {
    ProcessIdentity keeper = row->runtime.keeper;
    if (keeper.pid > 0)
        (void)process_wait_gone(&keeper, clock_monotonic_usec() + LAST_WORD_USEC);
}

/* A resume broke off before the guest wrote anything: nothing is lost. */
static int return_to_standby(Home *home, VmRow *row, Error *error) {
    row_clear_processes(row);
    return row_set_state(home, row, STATE_STANDBY, NULL, error);
}

static int record_end(Home *home, VmRow *row, int dir_fd, RunEnd *end, Error *error) {
    _cleanup_json_ json_t *ended = NULL;
    bool resume = false;
    VmState state;
    int r;
    wait_for_last_word(row);
    r = run_end_processes(home, row, error);
    *end = RUN_ENDED;
    if (r < 0 || *row->runtime.hidden)
        return r; /* a pool's clone: nobody knew of it */
    r = run_recover_save(home, row, NULL, &resume, error);
    if (r < 0)
        return r;
    if (row->state == STATE_STARTING && standby_disks_are_unchanged(home, row))
        return return_to_standby(home, row, error);
    if (dir_fd >= 0)
        ended = read_exit(dir_fd);
    if (wants_reboot(row, ended))
        *end = RUN_REBOOTS;
    state = note_end(row, ended); /* which sets runtime.exit */
    return row_set_state(home, row, state, row->runtime.exit, error);
}

int run_record_end(Home *home, VmRow *row, RunEnd *end, Error *error) {
    _cleanup_close_ int dir_fd = -1;
    (void)vm_folder_open(home, row->id, &dir_fd, NULL);
    return record_end(home, row, dir_fd, end, error);
}
