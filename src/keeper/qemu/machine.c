/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/machine.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#define CONSOLE_READ_BYTES 16384
#define CONSOLE_DRAIN_MAX 64
#define ERROR_LOG_MAX_BYTES (64 * KIB)
#define CALL_USEC (30 * USEC_PER_SEC)
#define DEADLINE_USEC (60 * USEC_PER_SEC)

void machine_init(Machine *machine, Loop *loop, const MachineHandlers *handlers, void *data) {
    *machine = (Machine){.loop = loop,
                         .handlers = handlers,
                         .data = data,
                         .userfaultfd = -1,
                         .remapping = REMAPPING_INIT,
                         .pid.fd = -1,
                         .console.fd = -1,
                         .error_output.fd = -1,
                         .console_log = LOGFILE_INIT,
                         .error_log = LOGFILE_INIT};
}

int machine_open_logs(Machine *machine, int vm_dir_fd, const Plan *plan, Error *error) {
    int r = logfile_open(&machine->console_log, vm_dir_fd, "console.log", true,
                         plan->console_max_bytes, plan->uid, plan->gid, error);
    if (r == 0)
        r = logfile_keep_times(&machine->console_log, "console.times", plan->uid, plan->gid, error);
    if (r == 0)
        r = logfile_open(&machine->error_log, vm_dir_fd, "qemu.log", true, ERROR_LOG_MAX_BYTES,
                         plan->uid, plan->gid, error);
    return r;
}

/* Output */

/* 1: something was read; 0: nothing there; negative: the end. */
static int read_log(int fd, LogFile *log) {
    char bytes[CONSOLE_READ_BYTES];
    ssize_t got = read(fd, bytes, sizeof(bytes));
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0)
        return -ECONNRESET;
    logfile_write(log, bytes, (size_t)got);
    return 1;
}

static void on_console(void *data, uint32_t events) {
    Machine *machine = data;
    int r = read_log(machine->console.fd, &machine->console_log);
    if (r < 0)
        watched_close(&machine->console);
    if (r > 0)
        machine->handlers->console_output(machine->data);
}

static void on_error_output(void *data, uint32_t events) {
    Machine *machine = data;
    if (read_log(machine->error_output.fd, &machine->error_log) < 0)
        watched_close(&machine->error_output);
}

static void drain_log(Watched *from, LogFile *log) {
    for (int i = 0; i < CONSOLE_DRAIN_MAX && from->fd >= 0; i++)
        if (read_log(from->fd, log) <= 0)
            break;
    watched_close(from);
}

/* The monitor */

/* QEMU's word for when it was, by this host's clock, as a monotonic time. */
static uint64_t event_time(const json_t *event) {
    const json_t *at = json_object_get(event, "timestamp");
    uint64_t usec = (uint64_t)json_integer_value(json_object_get(at, "seconds")) * USEC_PER_SEC +
                    (uint64_t)json_integer_value(json_object_get(at, "microseconds"));
    uint64_t now = clock_monotonic_usec(), realtime = clock_realtime_usec();
    return usec <= realtime && realtime - usec < now ? now - (realtime - usec) : now;
}

static void handle_event(Machine *machine, const json_t *event) {
    const char *name = qmp_event_name(event);
    if (str_equal(name, "SHUTDOWN")) {
        const char *reason =
            json_string_value(json_object_get(json_object_get(event, "data"), "reason"));
        snprintf(machine->shutdown_reason, sizeof(machine->shutdown_reason), "%s",
                 reason ? reason : "unknown");
    } else if (str_equal(name, "GUEST_PANICKED")) {
        snprintf(machine->shutdown_reason, sizeof(machine->shutdown_reason), "guest-panic");
    } else if (str_equal(name, "STOP")) {
        machine->stopped_at_usec = event_time(event);
        machine->handlers->cpus_stopped(machine->data);
    }
}

void machine_process_events(Machine *machine) {
    for (;;) {
        _cleanup_json_ json_t *event = machine->qmp ? qmp_next_event(machine->qmp) : NULL;
        if (!event)
            return;
        handle_event(machine, event);
    }
}

uint64_t machine_deadline(void) {
    return clock_monotonic_usec() + DEADLINE_USEC;
}

int machine_call(Machine *machine, const char *command, json_t *arguments, json_t **result,
                 Error *error) {
    _cleanup_json_ json_t *owned = arguments;
    int r =
        qmp_call(machine->qmp, command, owned, clock_monotonic_usec() + CALL_USEC, result, error);
    machine_process_events(machine);
    return r;
}

static void on_qmp(void *data, uint32_t events) {
    Machine *machine = data;
    int r = qmp_process(machine->qmp, NULL);
    machine_process_events(machine);
    if (r < 0)
        machine->qmp_source = loop_remove(machine->qmp_source);
}

bool machine_lacks_room(Machine *machine) {
    _cleanup_json_ json_t *status = NULL;
    if (qmp_call(machine->qmp, "query-status", NULL, clock_monotonic_usec() + CALL_USEC, &status,
                 NULL) < 0)
        return false;
    const char *text = json_string_value(json_object_get(status, "status"));
    if (str_equal(text, "internal-error")) {
        log_error("QEMU stopped by itself: %s", text);
        machine_kill(machine, "internal-error");
    }
    return str_equal(text, "io-error"); /* other errors it tells the guest (-drive werror) */
}

static void on_exit_of_qemu(void *data, uint32_t events) {
    Machine *machine = data;
    machine->exited = true;
    machine->pid.source = loop_remove(machine->pid.source);
}

int machine_watch(Machine *machine, Error *error) {
    Loop *loop = machine->loop;
    int r = watched_add(loop, &machine->console, EPOLLIN, on_console, machine);
    if (r == 0)
        r = watched_add(loop, &machine->error_output, EPOLLIN, on_error_output, machine);
    if (r == 0)
        r = watched_add(loop, &machine->pid, EPOLLIN, on_exit_of_qemu, machine);
    machine->qmp_source = loop_add_fd(loop, qmp_fd(machine->qmp), EPOLLIN, on_qmp, machine);
    if (r < 0 || !machine->qmp_source)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot watch QEMU");
    return 0;
}

/* The end */

void machine_kill(Machine *machine, const char *cause) {
    if (machine->pid.fd < 0 || machine->exited)
        return;
    if (!machine->killed_for)
        machine->killed_for = cause;
    (void)syscall(SYS_pidfd_send_signal, machine->pid.fd, SIGKILL, NULL, 0);
}

void machine_drain(Machine *machine) {
    drain_log(&machine->console, &machine->console_log);
    drain_log(&machine->error_output, &machine->error_log);
    if (machine->qmp)
        (void)qmp_process(machine->qmp, NULL);
    machine_process_events(machine);
    machine->qmp_source = loop_remove(machine->qmp_source);
}

void machine_free(Machine *machine) {
    machine->qmp_source = loop_remove(machine->qmp_source);
    qmp_free(machine->qmp);
    machine->qmp = NULL;
    machine->userfaultfd = fd_close(machine->userfaultfd);
    machine->remapping.socket = fd_close(machine->remapping.socket);
    watched_close(&machine->pid);
    watched_close(&machine->console);
    watched_close(&machine->error_output);
    logfile_close(&machine->console_log);
    logfile_close(&machine->error_log);
}
