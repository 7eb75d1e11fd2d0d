/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "keeper/keeper.h"
#include "keeper/sandbox.h"

/* A start, from the plan to ready. The first part (logs, privileges, QEMU, filter, QMP's greeting)
 * runs straight through. The second waits in the loop: for a sign of life, for the agent's WELCOME,
 * for its word that the identity is applied. Each stage is told to the daemon with the time when it
 * began.
 *
 * When anything fails, QEMU is killed and the error told once it is gone (start_ended), so that the
 * daemon can clean up as soon as it reads it. When QEMU ends by itself meanwhile, its last words
 * are the error. The end of the daemon's connection changes nothing: the next daemon will ask for
 * the status. */

#define CONSOLE_LINES 10
#define QMP_GREETING_USEC (60 * USEC_PER_SEC)

static void stage(Keeper *keeper, const char *name);

void start_stage(Keeper *keeper, const char *name) {
    stage(keeper, name);
}

static void stage(Keeper *keeper, const char *name) {
    request_event(keeper->start.connection,
                  json_pack("{s:s, s:s, s:I}", "event", "stage", "name", name, "at_us",
                            (json_int_t)clock_monotonic_usec()));
}

/* Waiting */

static const char *awaited(const Keeper *keeper) {
    if (keeper->start.answered_at_usec)
        return "the agent to apply its identity";
    if (keeper->start.heard && keeper->link.state != LINK_SILENT)
        return "the agent's answer to the greeting";
    return keeper->start.heard ? "the agent's announcement" : "a first sign of life";
}

static void fail_waiting(Keeper *keeper, const char *what, uint64_t usec) {
    _cleanup_free_ char *lines = logfile_tail(&keeper->machine.console_log, CONSOLE_LINES);
    _cleanup_free_ char *time = format_duration(usec);
    Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_GUEST_NOT_READY, ETIMEDOUT,
                    "the guest did not get ready: %s for %s, waiting for %s; console: %s%s", what,
                    time, awaited(keeper), lines[0] ? "\n" : "empty", lines);
    error_set_hint(&error, "look at the console with ramet logs");
    start_fail(keeper, &error);
}

static void on_silence(void *data) {
    Keeper *keeper = data;
    fail_waiting(keeper, "nothing was heard of it", keeper->plan.silence_timeout_usec);
}

static void on_ready_timeout(void *data) {
    Keeper *keeper = data;
    fail_waiting(keeper, "it was given its time", keeper->plan.ready_timeout_usec);
}

static uint64_t deadline(uint64_t timeout_usec) {
    return timeout_usec ? clock_monotonic_usec() + timeout_usec : UINT64_MAX;
}

void start_set_timers(Keeper *keeper) {
    Start *start = &keeper->start;
    start->silence_timer = loop_add_timer(keeper->loop, deadline(keeper->plan.silence_timeout_usec),
                                          on_silence, keeper);
    start->ready_timer = loop_add_timer(keeper->loop, deadline(keeper->plan.ready_timeout_usec),
                                        on_ready_timeout, keeper);
}

static void clear_timers(Keeper *keeper) {
    keeper->start.silence_timer = loop_remove(keeper->start.silence_timer);
    keeper->start.ready_timer = loop_remove(keeper->start.ready_timer);
}

/* The first part */

/* The folder and the memory base are kept; everything else was for QEMU. */
static int take_folder(Keeper *keeper, const int *fds, Error *error) {
    keeper->vm_dir_fd = fcntl(fds[keeper->plan.console_dir_fd], F_DUPFD_CLOEXEC, 3);
    keeper->memory_fd = fcntl(fds[keeper->plan.memory_fd], F_DUPFD_CLOEXEC, 3);
    if (keeper->vm_dir_fd < 0 || keeper->memory_fd < 0)
        return error_set_errno(error, errno, "cannot keep the VM's folder and memory base");
    return 0;
}

static int enter_sandbox(Keeper *keeper, const int *fds, Error *error) {
    stage(keeper, "sandbox");
    int r = take_folder(keeper, fds, error);
    if (r == 0)
        r = machine_open_logs(keeper, error);
    if (r == 0)
        r = sandbox_drop_privileges(keeper->plan.uid, keeper->plan.gid, error);
    return r;
}

/* Blocks the loop until QEMU is up, some 30 ms; nobody else can have a request yet. What can be
 * told QEMU and the agent before is on its way already, and the filter is made meanwhile. */
static int start_qemu(Keeper *keeper, const int *fds, Error *error) {
    stage(keeper, "qemu");
    int r = machine_launch(keeper, fds, error);
    if (r < 0)
        return r;
    int sent = restore_send_ahead(keeper, fds, error);
    if (sent == 0)
        r = sandbox_filter_calls(error);
    if (r == 0)
        r = machine_watch(keeper,
                          sent == 0 ? error : NULL); /* also to see the end of a dead QEMU */
    if (r < 0 || sent < 0)
        return r < 0 ? r : sent;
    r = qmp_receive(keeper->machine.qmp, keeper->start.qmp_id,
                    clock_monotonic_usec() + QMP_GREETING_USEC, NULL, error);
    if (keeper->plan.boot ==
        PLAN_BOOT_COLD) /* RESUME may be there already: restore.c waits for it */
        machine_take_events(keeper);
    return r;
}

static void await_guest(Keeper *keeper) {
    start_set_timers(keeper);
    keeper->start.heard = keeper->plan.boot == PLAN_BOOT_RESTORE;
    stage(keeper, keeper->start.heard ? "agent" : "kernel");
}

/* QEMU is already dead or dying and has said why on its error output: its exit will tell. */
static bool exit_will_tell(Keeper *keeper, int r) {
    return keeper->machine.pid.fd >= 0 && (r == -ECONNRESET || r == -EPIPE);
}

static void run_first_part(Keeper *keeper, const int *fds) {
    Error error = ERROR_INIT;
    int r = enter_sandbox(keeper, fds, &error);
    if (r == 0)
        r = start_qemu(keeper, fds, &error);
    if (r == 0)
        r = restore_load(keeper, fds, &error);
    if (r == 0) {
        await_guest(keeper);
    } else if (exit_will_tell(keeper, r)) {
        error_clear(&error);
        start_set_timers(keeper);
    } else {
        start_fail(keeper, &error);
    }
}

int start_begin(Keeper *keeper, Connection *connection, const json_t *request, const int *fds,
                size_t n_fds, Error *error) {
    if (keeper->state != KEEPER_WAITING)
        return error_set(error, ERROR_CONFLICT, 0, "this keeper has started its VM already");
    Error bad_plan = ERROR_INIT;
    (void)prctl(PR_SET_PDEATHSIG, 0); /* from here on we outlive the daemon */
    keeper->state = KEEPER_STARTING;
    keeper->start.connection = connection;
    keeper->idle_timer = loop_remove(keeper->idle_timer);
    if (plan_from_json(json_object_get(request, "plan"), n_fds, &keeper->plan, &bad_plan) < 0)
        start_fail(keeper, &bad_plan);
    else
        run_first_part(keeper, fds);
    return 0;
}

/* The second part */

/* After a failure QEMU still runs for a moment, and its agent may go on answering. */
bool start_goes_on(const Keeper *keeper) {
    return keeper->state == KEEPER_STARTING && keeper->start.error.kind == ERROR_NONE;
}

void start_heard(Keeper *keeper) {
    if (keeper->state != KEEPER_STARTING)
        return;
    if (!keeper->start.heard)
        stage(keeper, "agent");
    keeper->start.heard = true;
    if (keeper->start.silence_timer)
        loop_set_timer(keeper->start.silence_timer, deadline(keeper->plan.silence_timeout_usec));
}

static json_t *hex_json(const uint8_t *bytes, size_t size) {
    char text[2 * 16 + 1];
    hex_encode(bytes, MIN_OF(size, (size_t)16), text);
    return json_string(text);
}

static json_t *describe(const Keeper *keeper) {
    const LinkWelcome *welcome = &keeper->welcome;
    const ProcessIdentity *process = &keeper->machine.process;
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:I}", "state",
        keeper_state_name(keeper), "boot", keeper->boot, "accel", keeper->plan.accel, "qemu_pid",
        (json_int_t)process->pid, "qemu_start_ticks", (json_int_t)process->start_ticks,
        "answered_at_us", (json_int_t)keeper->start.answered_at_usec, "ready_at_us",
        (json_int_t)keeper->start.ready_at_usec, "agent_version", welcome->agent_version, "marker",
        hex_json(keeper->link.marker, AGENT_MARKER_SIZE), "ram_nonce",
        hex_json(welcome->ram_nonce, AGENT_NONCE_SIZE), "counter",
        (json_int_t)MIN_OF(welcome->counter, (uint64_t)INT64_MAX));
}

static void settle(Keeper *keeper, KeeperState state) {
    clear_timers(keeper);
    keeper->start.ready_at_usec = clock_monotonic_usec();
    keeper->state = state;
    request_answer(keeper->start.connection, describe(keeper));
    keeper->start.connection = NULL;
    request_tell_watchers(
        keeper, json_pack("{s:s, s:s}", "event", "state", "state", keeper_state_name(keeper)));
}

static void become_ready(Keeper *keeper) {
    Error error = ERROR_INIT;
    if (restore_plug_cable(keeper, &error) < 0)
        start_fail(keeper, &error);
    else
        settle(keeper, KEEPER_RUNNING);
}

static void become_warm(Keeper *keeper) {
    Error error = ERROR_INIT;
    if (restore_stay_warm(keeper, &error) < 0)
        start_fail(keeper, &error);
    else
        settle(keeper, KEEPER_WARM);
}

void start_awake(Keeper *keeper) {
    if (keeper->plan.start_paused && keeper->plan.boot == PLAN_BOOT_RESTORE)
        become_warm(keeper);
    else
        become_ready(keeper);
}

/* Restored and not booted anew: the agent must know what only its memory held. */
static int check_welcome(const Keeper *keeper, Error *error) {
    const LinkWelcome *welcome = &keeper->welcome;
    if (welcome->version != AGENT_PROTOCOL_VERSION)
        return error_set(error, ERROR_GUEST_NOT_READY, EPROTO,
                         "the agent speaks protocol %llu, this is %d",
                         (unsigned long long)welcome->version, AGENT_PROTOCOL_VERSION);
    if (keeper->plan.boot == PLAN_BOOT_COLD)
        return 0;
    if (memcmp(welcome->ram_nonce, keeper->plan.ram_nonce, AGENT_NONCE_SIZE) != 0 ||
        welcome->counter <= keeper->plan.counter)
        return error_set(error, ERROR_GUEST_NOT_READY, EPROTO,
                         "the guest was not restored: its memory is not the snapshot's");
    return 0;
}

void start_welcomed(Keeper *keeper) {
    if (!start_goes_on(keeper))
        return;
    Error error = ERROR_INIT;
    start_heard(keeper);
    keeper->start.answered_at_usec = clock_monotonic_usec();
    int r = check_welcome(keeper, &error);
    if (r == 0) {
        stage(keeper, "identity");
        r = wake_welcomed(keeper, &error);
    }
    if (r < 0)
        start_fail(keeper, &error);
}

/* Failing */

void start_fail(Keeper *keeper, Error *error) {
    if (keeper->start.error.kind == ERROR_NONE)
        (void)error_move(&keeper->start.error, error);
    error_clear(error);
    clear_timers(keeper);
    if (keeper->machine.pid.fd >= 0)
        machine_kill(keeper, "start-failed");
    else
        end_begin(keeper); /* there was no QEMU yet */
}

static void describe_exit(Keeper *keeper, Error *error) {
    _cleanup_free_ char *words = logfile_tail(&keeper->machine.error_log, CONSOLE_LINES);
    _cleanup_free_ char *lines = logfile_tail(&keeper->machine.console_log, CONSOLE_LINES);
    bool heard = keeper->machine.console_log.total_bytes > 0;
    if (keeper->plan.boot == PLAN_BOOT_RESTORE && !keeper->machine.loaded) {
        (void)error_set(error, ERROR_FAILED, 0, "QEMU ended while it loaded the device state%s%s",
                        words[0] ? ": " : "", words);
        error_set_hint(error, "the snapshot's state is damaged, or of another QEMU or machine");
        return;
    }
    (void)error_set(error, heard ? ERROR_GUEST_NOT_READY : ERROR_FAILED, 0,
                    "QEMU ended before the guest was ready%s%s%s%s%s",
                    keeper->machine.shutdown_reason[0] ? ": " : "", keeper->machine.shutdown_reason,
                    words[0] ? ": " : "", words, heard ? "; console:\n" : "");
    if (heard) {
        _cleanup_free_ char *message = str_format("%s%s", error->message, lines);
        (void)error_set(error, ERROR_GUEST_NOT_READY, 0, "%s", message);
    }
}

void start_ended(Keeper *keeper) {
    clear_timers(keeper);
    if (keeper->start.error.kind == ERROR_NONE)
        describe_exit(keeper, &keeper->start.error);
    log_error("start failed: %s", error_message(&keeper->start.error));
    request_fail(keeper->start.connection, &keeper->start.error);
    keeper->start.connection = NULL;
}
