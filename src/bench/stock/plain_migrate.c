/* SPDX-License-Identifier: Apache-2.0 */

/* QEMU's own way: the whole machine as one stream into a file (migration.json of QEMU's QAPI), and
 * a new QEMU that reads it. The stream is parsed page by page and has every page that is not zero,
 * so its time grows with the memory in use. */

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "bench/stock/plain_migrate.h"
#include "qemu/qmp.h"

#define MIGRATE_BOUND_USEC (600 * USEC_PER_SEC)
#define BANDWIDTH_BYTES ((json_int_t)1 << 40)

typedef struct PlainMachine {
    pid_t pid;
    int agent; /* owned */
    Qmp *qmp;  /* owned */
} PlainMachine;

static void machine_end(PlainMachine *machine) {
    qmp_free(machine->qmp);
    (void)fd_close(machine->agent);
    if (machine->pid > 0)
        plain_end(machine->pid);
    *machine = (PlainMachine){.agent = -1};
}

static uint64_t bound(void) {
    return clock_monotonic_usec() + MIGRATE_BOUND_USEC;
}

static int machine_call(PlainMachine *machine, const char *command, json_t *arguments,
                        Error *error) {
    int r = qmp_call(machine->qmp, command, arguments, bound(), NULL, error);
    json_decref(arguments);
    return r;
}

static int machine_start(const PlainBoot *boot, bool incoming, PlainMachine *machine,
                         Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_close_ int agent = -1, monitor = -1;
    int port[2], qmp[2];
    if (fd_socketpair(SOCK_STREAM, port) < 0)
        return error_set_errno(error, errno, "cannot make a socket pair");
    machine->agent = port[0];
    agent = port[1];
    if (fd_socketpair(SOCK_STREAM, qmp) < 0)
        return error_set_errno(error, errno, "cannot make a socket pair");
    machine->qmp = qmp_new(qmp[0]);
    monitor = qmp[1];
    plain_argv(boot, &argv);
    strlist_add_many(&argv, "-chardev", "socket,id=qmp,fd=4", "-mon", "chardev=qmp,mode=control",
                     NULL);
    if (incoming)
        strlist_add_many(&argv, "-incoming", "defer", NULL);
    int r = plain_spawn(&argv, agent, monitor, &machine->pid, error);
    if (r < 0)
        return r;
    agent = fd_close(agent);
    monitor = fd_close(monitor);
    return qmp_greeting(machine->qmp, bound(), NULL, error);
}

static int give_file(PlainMachine *machine, const char *file, int flags, Error *error) {
    _cleanup_close_ int fd = open(file, flags | O_CLOEXEC, 0600);
    _cleanup_json_ json_t *arguments = json_pack("{s:s}", "fdname", "file");
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", file);
    return qmp_call_fd(machine->qmp, "getfd", arguments, fd, bound(), NULL, error);
}

static int wait_completed(PlainMachine *machine, Error *error) {
    static const char *const names[] = {"MIGRATION", NULL};
    for (;;) {
        _cleanup_json_ json_t *event = NULL;
        int r = qmp_wait_event(machine->qmp, names, bound(), &event, error);
        if (r < 0)
            return r;
        const char *status =
            json_string_value(json_object_get(json_object_get(event, "data"), "status"));
        if (str_equal(status, "completed"))
            return 0;
        if (str_equal(status, "failed"))
            return error_set(error, ERROR_FAILED, 0, "QEMU's migration failed");
    }
}

static int ask_for_events(PlainMachine *machine, Error *error) {
    return machine_call(
        machine, "migrate-set-capabilities",
        json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability", "events", "state", 1), error);
}

static int save(PlainMachine *machine, const char *file, uint64_t *usec, Error *error) {
    int r = ask_for_events(machine, error);
    if (r >= 0)
        r = machine_call(machine, "migrate-set-parameters",
                         json_pack("{s:I}", "max-bandwidth", BANDWIDTH_BYTES), error);
    if (r >= 0)
        r = give_file(machine, file, O_WRONLY | O_CREAT | O_TRUNC, error);
    uint64_t start = clock_monotonic_usec();
    if (r >= 0)
        r = machine_call(machine, "stop", NULL, error);
    if (r >= 0)
        r = machine_call(machine, "migrate", json_pack("{s:s}", "uri", "fd:file"), error);
    if (r >= 0)
        r = wait_completed(machine, error);
    *usec = clock_monotonic_usec() - start;
    return r;
}

static int load(PlainMachine *machine, const char *file, Error *error) {
    int r = ask_for_events(machine, error);
    if (r >= 0)
        r = give_file(machine, file, O_RDONLY, error);
    if (r >= 0)
        r = machine_call(machine, "migrate-incoming", json_pack("{s:s}", "uri", "fd:file"), error);
    if (r >= 0)
        r = wait_completed(machine, error);
    return r < 0 ? r : machine_call(machine, "cont", NULL, error);
}

static int boot_and_save(const PlainBoot *boot, const char *file, uint8_t marker[AGENT_MARKER_SIZE],
                         PlainTimes *times, Error *error) {
    _cleanup_(machine_end) PlainMachine machine = {.agent = -1};
    uint64_t start = clock_monotonic_usec();
    int r = machine_start(boot, false, &machine, error);
    if (r >= 0)
        r = plain_greet(machine.agent, true, marker, error);
    times->boot_usec = clock_monotonic_usec() - start;
    return r < 0 ? r : save(&machine, file, &times->save_usec, error);
}

static int restore(const PlainBoot *boot, const char *file, uint8_t marker[AGENT_MARKER_SIZE],
                   PlainTimes *times, Error *error) {
    _cleanup_(machine_end) PlainMachine machine = {.agent = -1};
    uint64_t start = clock_monotonic_usec();
    int r = machine_start(boot, true, &machine, error);
    if (r >= 0)
        r = load(&machine, file, error);
    if (r >= 0)
        r = plain_greet(machine.agent, false, marker, error);
    times->restore_usec = clock_monotonic_usec() - start;
    return r;
}

int plain_migrate(const PlainBoot *boot, const char *file, PlainTimes *times, Error *error) {
    uint8_t marker[AGENT_MARKER_SIZE];
    PlainTimes taken = {0};
    int r = boot_and_save(boot, file, marker, &taken, error);
    if (r >= 0)
        r = restore(boot, file, marker, &taken, error);
    if (r < 0)
        return error_add_context(error, "QEMU's own save and restore");
    *times = taken;
    return 0;
}
