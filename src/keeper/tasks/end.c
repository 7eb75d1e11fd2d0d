/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/end.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "keeper/tasks/adopt.h"
#include "keeper/tasks/snapshot.h"
#include "keeper/tasks/start.h"

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

static void find_cause(const Vm *vm, Exit *ended) {
    const Machine *machine = &vm->machine;
    if (machine->killed_for)
        ended->cause = machine->killed_for;
    else if (vm->state == VM_STARTING)
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

static json_t *describe(const Vm *vm, const Exit *ended) {
    _cleanup_free_ char *time = clock_format_realtime(clock_realtime_usec());
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:s, s:o}", "cause", ended->cause, "status", ended->status,
                  "signal", ended->signal, "time", time, "program", vm_describe_program(vm));
    if (is_failure(ended)) {
        _cleanup_free_ char *lines = logfile_tail(&vm->machine.console_log, CONSOLE_LINES);
        _cleanup_free_ char *words = logfile_tail(&vm->machine.error_log, CONSOLE_LINES);
        json_object_set_new(json, "console", json_string(lines));
        json_object_set_new(json, "qemu", json_string(words));
    }
    return json;
}

static void record(const Vm *vm, const json_t *exit) {
    _cleanup_free_ char *text = json_to_text(exit);
    int r = vm->vm_dir_fd < 0
                ? -EBADF
                : path_write_atomic_at(vm->vm_dir_fd, "exit.json", text, strlen(text), 0600);
    if (r < 0)
        log_warning("cannot write exit.json: %s", strerror(-r));
}

bool end_is_due(const Vm *vm) {
    return vm->state != VM_ENDED && (vm->machine.exited || start_has_ended(vm));
}

json_t *end_run(Vm *vm) {
    Exit ended = {.status = -1};
    bool starting = vm->state == VM_STARTING;
    adopt_end(vm);
    machine_drain(&vm->machine);
    agent_channel_drain(&vm->channel);
    reap(&vm->machine, &ended);
    find_cause(vm, &ended);
    watched_close(&vm->machine.pid);
    pulse_stop(&vm->pulse);
    vm->state = VM_ENDED;
    json_t *exit = describe(vm, &ended);
    record(vm, exit);
    if (starting)
        start_end(vm);
    snapshot_end(vm);
    log_info("QEMU has ended: %s", ended.cause);
    json_object_set_new(exit, "event", json_string("exit"));
    return exit;
}
