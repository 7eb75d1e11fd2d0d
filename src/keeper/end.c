/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "keeper/keeper.h"
#include "proto/keeper.h"

/* The end: QEMU is gone. What it left in its sockets is read first (the last lines of the console,
 * an EXIT that was under way), then the cause is known. exit.json is written before anybody is
 * told, so that who is told finds it. Clients get their last bytes for a bounded while; then the
 * keeper exits. */

#define LINGER_USEC (10 * USEC_PER_SEC)
#define CONSOLE_LINES 10

typedef struct Exit {
    const char *cause;
    int status; /* of exit(3); -1 when a signal ended it */
    int signal; /* 0: none */
} Exit;

static const char *cause_of_shutdown(const char *reason) {
    static const struct {
        const char *reason, *cause;
    } causes[] = {
        {"guest-shutdown", "poweroff"},
        {"guest-reset", "reboot"},
        {"guest-panic", "panic"},
        {"host-qmp-quit", "killed"},
        {"host-qmp-system-reset", "reboot"},
        {"host-signal", "killed"},
        {"host-error", "internal-error"},
        {"subsystem-reset", "reboot"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
        if (str_equal(causes[i].reason, reason))
            return causes[i].cause;
    return "internal-error";
}

static void reap(const Machine *machine, Exit *ended) {
    siginfo_t info = {0};
    if (machine->pid.fd < 0 || waitid(P_PIDFD, (id_t)machine->pid.fd, &info, WEXITED | WNOHANG) < 0)
        return;
    if (info.si_code == CLD_EXITED)
        ended->status = info.si_status;
    else
        ended->signal = info.si_status;
}

static void find_cause(const Keeper *keeper, Exit *ended) {
    const Machine *machine = &keeper->machine;
    if (machine->killed_for)
        ended->cause = machine->killed_for;
    else if (keeper->state == KEEPER_STARTING)
        ended->cause = "start-failed";
    else if (ended->signal)
        ended->cause = "crashed";
    else if (ended->status != 0)
        ended->cause = "internal-error";
    else
        ended->cause = cause_of_shutdown(machine->shutdown_reason);
}

static bool is_failure(const Exit *ended) {
    static const char *const fine[] = {"poweroff", "reboot", "killed", "owner-gone"};
    for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
        if (str_equal(ended->cause, fine[i]))
            return false;
    return true;
}

static json_t *describe(const Keeper *keeper, const Exit *ended) {
    _cleanup_free_ char *time = clock_format_realtime(clock_realtime_usec());
    json_t *json = json_pack("{s:s, s:i, s:i, s:s}", "cause", ended->cause, "status", ended->status,
                             "signal", ended->signal, "time", time);
    if (is_failure(ended)) {
        _cleanup_free_ char *lines = logfile_tail(&keeper->machine.console_log, CONSOLE_LINES);
        _cleanup_free_ char *words = logfile_tail(&keeper->machine.error_log, CONSOLE_LINES);
        json_object_set_new(json, "console", json_string(lines));
        json_object_set_new(json, "qemu", json_string(words));
    }
    return json;
}

static void record(const Keeper *keeper, const json_t *exit) {
    _cleanup_free_ char *text = json_to_text(exit);
    int r = keeper->vm_dir_fd < 0
                ? -EBADF
                : path_write_atomic_at(keeper->vm_dir_fd, "exit.json", text, strlen(text), 0600);
    if (r < 0)
        log_warning("cannot write exit.json: %s", strerror(-r));
}

static void tell_clients(Keeper *keeper, const Exit *ended) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_FAILED, 0, "the VM has ended: %s", ended->cause);
    session_end_all(keeper, &error);
}

static void on_linger(void *data) {
    Keeper *keeper = data;
    loop_quit(keeper->loop);
}

void end_begin(Keeper *keeper) {
    if (keeper->state == KEEPER_ENDED)
        return;
    Exit ended = {.status = -1};
    bool starting = keeper->state == KEEPER_STARTING;
    machine_drain(keeper);
    port_drain(keeper);
    reap(&keeper->machine, &ended);
    find_cause(keeper, &ended);
    watched_close(&keeper->machine.pid);
    keeper->state = KEEPER_ENDED;
    _cleanup_json_ json_t *exit = describe(keeper, &ended);
    record(keeper, exit);
    tell_clients(keeper, &ended);
    port_free(keeper);
    if (starting)
        start_ended(keeper);
    snapshot_ended(keeper);
    log_info("QEMU has ended: %s", ended.cause);
    json_object_set_new(exit, "event", json_string("exit"));
    request_tell_watchers(keeper, json_incref(exit));
    request_answer_waiting(keeper);
    keeper->linger_timer =
        loop_add_timer(keeper->loop, clock_monotonic_usec() + LINGER_USEC, on_linger, keeper);
    end_check(keeper);
}

void end_check(Keeper *keeper) {
    if (keeper->state == KEEPER_ENDED && !keeper->sessions)
        loop_quit(keeper->loop);
}
