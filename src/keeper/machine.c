/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "keeper/keeper.h"
#include "qemu/argv.h"
#include "qemu/zygote.h"

/* QEMU as a process. It gets sockets for QMP, the agent's port and the console, a pipe for its
 * error output, and the plan's files; it opens no path of ours. It dies with the keeper
 * (parent-death signal). Its end is seen on the pidfd, not on the sockets, which may close a little
 * earlier. */

#define CONSOLE_READ_BYTES 16384
#define CONSOLE_DRAIN_MAX 64
#define ERROR_LOG_MAX_BYTES (64 * KIB)
#define QMP_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define FIRST_CHILD_FD 3
#define CHILD_FDS_MAX (2 * PLAN_DISKS_MAX * PLAN_CHAIN_MAX + 16)

void machine_init(Machine *machine) {
    *machine = (Machine){.pid.fd = -1,
                         .console.fd = -1,
                         .error_output.fd = -1,
                         .console_log = LOGFILE_INIT,
                         .error_log = LOGFILE_INIT};
}

int machine_open_logs(Keeper *keeper, Error *error) {
    const Plan *plan = &keeper->plan;
    Machine *machine = &keeper->machine;
    int r = logfile_open(&machine->console_log, keeper->vm_dir_fd, "console.log", true,
                         plan->console_max_bytes, plan->uid, plan->gid, error);
    if (r == 0)
        r = logfile_open(&machine->error_log, keeper->vm_dir_fd, "qemu.log", true,
                         ERROR_LOG_MAX_BYTES, plan->uid, plan->gid, error);
    return r;
}

/* Launching */

typedef struct Launch {
    const Plan *plan; /* borrowed */
    const int *fds;   /* borrowed: what the plan's indexes mean */
    QemuConfig config;
    SpawnFd moves[CHILD_FDS_MAX];
    size_t n_moves;
} Launch;

/* Gives a descriptor to QEMU; returns its number there. */
static int give(Launch *launch, int fd) {
    if (fd < 0 || launch->n_moves == CHILD_FDS_MAX)
        return -1;
    int to = FIRST_CHILD_FD + (int)launch->n_moves;
    launch->moves[launch->n_moves++] = (SpawnFd){.from = fd, .to = to};
    return to;
}

static int give_planned(Launch *launch, PlanFd index) {
    return index < 0 ? -1 : give(launch, launch->fds[index]);
}

static void fill_disk(Launch *launch, const PlanDisk *from, QemuDisk *to) {
    to->read_only = from->read_only;
    to->n_files = from->n_files;
    memcpy(to->serial, from->serial, sizeof to->serial);
    for (size_t i = 0; i < from->n_files; i++) {
        to->files[i].fd = give_planned(launch, from->files[i].fd);
        to->files[i].fd_write = give_planned(launch, from->files[i].fd_write);
        memcpy(to->files[i].format, from->files[i].format, sizeof to->files[i].format);
    }
}

/* Which nodes and files the disks are written to, for snapshots. */
static void note_disks(Machine *machine, const Plan *plan, const int *fds) {
    for (size_t i = 0; i < plan->n_disks; i++) {
        struct stat file;
        PlanFd fd = plan->disks[i].files[0].fd_write;
        qemu_disk_node(i, 0, machine->disk_nodes[i]);
        if (fd < 0 || fstat(fds[fd], &file) < 0)
            continue;
        machine->disk_devices[i] = file.st_dev;
        machine->disk_inodes[i] = file.st_ino;
    }
}

static void fill_network(Launch *launch) {
    const Plan *plan = launch->plan;
    QemuConfig *config = &launch->config;
    config->network_card = plan->network_card;
    memcpy(config->mac, plan->identity.mac, sizeof config->mac);
    config->network = plan->network == PLAN_NETWORK_USER  ? QEMU_NETWORK_USER
                      : plan->network == PLAN_NETWORK_TAP ? QEMU_NETWORK_TAP
                                                          : QEMU_NETWORK_NONE;
    config->tap_fd = give_planned(launch, plan->tap_fd);
    config->n_forwards = plan->n_forwards;
    for (size_t i = 0; i < plan->n_forwards; i++) {
        const PlanForward *from = &plan->forwards[i];
        QemuForward *to = &config->forwards[i];
        memcpy(to->host_ip, from->host_ip, sizeof to->host_ip);
        to->host_port = from->host_port;
        to->guest_port = from->guest_port;
        to->udp = from->udp;
    }
}

static void fill_config(Launch *launch) {
    const Plan *plan = launch->plan;
    QemuConfig *config = &launch->config;
    qemu_config_init(config);
    config->binary = plan->qemu;
    config->accel = plan->accel;
    config->machine = plan->machine;
    config->cpu = plan->cpu[0] ? plan->cpu : NULL;
    config->memory_bytes = plan->memory_bytes;
    config->cpus = plan->cpus;
    config->memory_fd = give_planned(launch, plan->memory_fd);
    config->memory_readonly_rom = plan->memory_readonly_rom;
    config->n_disks = plan->n_disks;
    for (size_t i = 0; i < plan->n_disks; i++)
        fill_disk(launch, &plan->disks[i], &config->disks[i]);
    fill_network(launch);
    config->incoming = plan->boot == PLAN_BOOT_RESTORE;
    config->cmdline = plan->cmdline;
    if (!config->incoming) {
        config->kernel_fd = give_planned(launch, plan->kernel_fd);
        config->initrd_fd = give_planned(launch, plan->initrd_fd);
    }
}

/* The ends that QEMU gets; ours are in the keeper already. Closed once it has them. */
typedef struct QemuEnds {
    int qmp, port, console, error_output; /* owned */
} QemuEnds;

static void ends_close(QemuEnds *ends) {
    fd_close(ends->qmp);
    fd_close(ends->port);
    fd_close(ends->console);
    fd_close(ends->error_output);
}

static int make_pair(int *ours, int *theirs) {
    int pair[2];
    int r = fd_socketpair(SOCK_STREAM, pair);
    if (r < 0)
        return r;
    *ours = pair[0];
    *theirs = pair[1];
    return fd_set_nonblocking(pair[0], true);
}

static int make_ends(Keeper *keeper, QemuEnds *ends, Error *error) {
    Machine *machine = &keeper->machine;
    int qmp = -1, pipes[2];
    int r = make_pair(&qmp, &ends->qmp);
    if (r == 0)
        machine->qmp = qmp_new(qmp);
    if (r == 0)
        r = make_pair(&keeper->port.fd, &ends->port);
    if (r == 0)
        r = make_pair(&machine->console.fd, &ends->console);
    if (r == 0 && pipe2(pipes, O_CLOEXEC) < 0)
        r = -errno;
    if (r != 0)
        return error_set_errno(error, -r, "cannot make QEMU's sockets");
    machine->error_output.fd = pipes[0];
    ends->error_output = pipes[1];
    return fd_set_nonblocking(pipes[0], true);
}

/* This process's own, and how QEMU's libraries are to be linked. Who has an LD_PRELOAD has a reason
 * for it. */
static void make_environment(const Plan *plan, StrList *environment) {
    for (char **entry = environ; *entry; entry++)
        strlist_add(environment, *entry);
    if (*plan->qemu_preload && !getenv("LD_PRELOAD"))
        strlist_add_format(environment, "LD_PRELOAD=%s", plan->qemu_preload);
}

static int spawn(Launch *launch, char **argv, pid_t *pid, Error *error) {
    StrList environment = {0};
    make_environment(launch->plan, &environment);
    SpawnOptions options = {.program = launch->plan->qemu,
                            .argv = argv,
                            .environment = environment.items,
                            .fds = launch->moves,
                            .n_fds = launch->n_moves,
                            .die_with_parent = true};
    int r = spawn_process(&options, pid, error);
    strlist_free(&environment);
    return r;
}

/* A child that the zygote made for us, or one of our own. */
static int start_process(KeeperChild *child, Launch *launch, char **argv, pid_t *pid,
                         Error *error) {
    if (child->socket < 0)
        return spawn(launch, argv, pid, error);
    *pid = child->pid;
    int r = zygote_launch(child->socket, argv, launch->moves, launch->n_moves, launch->plan->uid,
                          launch->plan->gid, error);
    child->socket = fd_close(child->socket);
    return r;
}

static int start_with(Launch *launch, const QemuEnds *ends, KeeperChild *child, pid_t *pid,
                      Error *error) {
    StrList argv = {0};
    launch->config.qmp_fd = give(launch, ends->qmp);
    launch->config.agent_fd = give(launch, ends->port);
    launch->config.console_fd = give(launch, ends->console);
    int r = qemu_build_argv(&launch->config, &argv, error);
    if (r == 0 && launch->n_moves + 2 > CHILD_FDS_MAX)
        r = error_set(error, ERROR_USAGE, E2BIG, "the plan has too many files");
    if (r == 0) {
        for (int to = 1; to <= 2; to++)
            launch->moves[launch->n_moves++] = (SpawnFd){.from = ends->error_output, .to = to};
        r = start_process(child, launch, argv.items, pid, error);
    }
    strlist_free(&argv);
    return r;
}

static int hold(Machine *machine, pid_t pid, Error *error) {
    int r = process_identify(pid, &machine->process);
    if (r < 0)
        return error_set_errno(error, -r, "QEMU was gone at once");
    machine->pid.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (machine->pid.fd < 0)
        return error_set_errno(error, errno, "cannot watch QEMU");
    return 0;
}

int machine_launch(Keeper *keeper, const int *fds, Error *error) {
    _cleanup_free_ Launch *launch = calloc(1, sizeof *launch); /* too large for a small stack */
    _cleanup_(ends_close) QemuEnds ends = {-1, -1, -1, -1};
    pid_t pid;
    if (!launch)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    launch->plan = &keeper->plan;
    launch->fds = fds;
    fill_config(launch);
    note_disks(&keeper->machine, launch->plan, fds);
    int r = make_ends(keeper, &ends, error);
    if (r == 0)
        r = start_with(launch, &ends, &keeper->child, &pid, error);
    if (r == 0)
        r = hold(&keeper->machine, pid, error);
    return r;
}

/* Reading */

/* 1: something was read; 0: nothing there; negative: the end. */
static int read_log(int fd, LogFile *log) {
    char bytes[CONSOLE_READ_BYTES];
    ssize_t got = read(fd, bytes, sizeof bytes);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0)
        return -ECONNRESET;
    logfile_write(log, bytes, (size_t)got);
    return 1;
}

static void on_console(void *data, uint32_t events) {
    Keeper *keeper = data;
    int r = read_log(keeper->machine.console.fd, &keeper->machine.console_log);
    if (r < 0)
        watched_close(&keeper->machine.console);
    if (r > 0)
        start_heard(keeper);
}

static void on_error_output(void *data, uint32_t events) {
    Keeper *keeper = data;
    if (read_log(keeper->machine.error_output.fd, &keeper->machine.error_log) < 0)
        watched_close(&keeper->machine.error_output);
}

static void drain_log(Watched *from, LogFile *log) {
    for (int i = 0; i < CONSOLE_DRAIN_MAX && from->fd >= 0; i++)
        if (read_log(from->fd, log) <= 0)
            break;
    watched_close(from);
}

static void on_stopped(Keeper *keeper) {
    _cleanup_json_ json_t *status = NULL;
    if (qmp_call(keeper->machine.qmp, "query-status", NULL,
                 clock_monotonic_usec() + QMP_TIMEOUT_USEC, &status, NULL) < 0)
        return;
    const char *text = json_string_value(json_object_get(status, "status"));
    if (str_equal(text, "internal-error") || str_equal(text, "io-error")) {
        log_error("QEMU stopped by itself: %s", text);
        keeper->machine.internal_error = true;
        machine_kill(keeper, "internal-error");
    }
}

static void take_event(Keeper *keeper, const json_t *event) {
    const char *name = qmp_event_name(event);
    Machine *machine = &keeper->machine;
    if (str_equal(name, "SHUTDOWN")) {
        const char *reason =
            json_string_value(json_object_get(json_object_get(event, "data"), "reason"));
        snprintf(machine->shutdown_reason, sizeof machine->shutdown_reason, "%s",
                 reason ? reason : "unknown");
    } else if (str_equal(name, "GUEST_PANICKED")) {
        snprintf(machine->shutdown_reason, sizeof machine->shutdown_reason, "guest-panic");
    } else if (str_equal(name, "STOP") && keeper->state == KEEPER_RUNNING) {
        on_stopped(keeper); /* nobody asked for it */
    }
}

void machine_take_events(Keeper *keeper) {
    for (;;) {
        _cleanup_json_ json_t *event =
            keeper->machine.qmp ? qmp_next_event(keeper->machine.qmp) : NULL;
        if (!event)
            return;
        take_event(keeper, event);
    }
}

int machine_call(Keeper *keeper, const char *command, json_t *arguments, json_t **result,
                 Error *error) {
    _cleanup_json_ json_t *owned = arguments;
    int r = qmp_call(keeper->machine.qmp, command, owned, clock_monotonic_usec() + QMP_TIMEOUT_USEC,
                     result, error);
    machine_take_events(keeper);
    return r;
}

static void on_qmp(void *data, uint32_t events) {
    Keeper *keeper = data;
    int r = qmp_process(keeper->machine.qmp, NULL);
    machine_take_events(keeper);
    if (r < 0)
        keeper->machine.qmp_source = loop_remove(keeper->machine.qmp_source);
}

static void on_exit_of_qemu(void *data, uint32_t events) {
    end_begin(data);
}

int machine_watch(Keeper *keeper, Error *error) {
    Machine *machine = &keeper->machine;
    int r = watched_add(keeper, &machine->console, EPOLLIN, on_console);
    if (r == 0)
        r = watched_add(keeper, &machine->error_output, EPOLLIN, on_error_output);
    if (r == 0)
        r = port_watch(keeper);
    if (r == 0)
        r = watched_add(keeper, &machine->pid, EPOLLIN, on_exit_of_qemu);
    machine->qmp_source = loop_add_fd(keeper->loop, qmp_fd(machine->qmp), EPOLLIN, on_qmp, keeper);
    if (r < 0 || !machine->qmp_source)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot watch QEMU");
    return 0;
}

/* Ending */

void machine_kill(Keeper *keeper, const char *cause) {
    Machine *machine = &keeper->machine;
    if (machine->pid.fd < 0 || machine->gone)
        return;
    if (!machine->killed_for)
        machine->killed_for = cause;
    (void)syscall(SYS_pidfd_send_signal, machine->pid.fd, SIGKILL, NULL, 0);
}

void machine_drain(Keeper *keeper) {
    Machine *machine = &keeper->machine;
    drain_log(&machine->console, &machine->console_log);
    drain_log(&machine->error_output, &machine->error_log);
    machine->gone = true;
    if (machine->qmp)
        (void)qmp_process(machine->qmp, NULL);
    machine_take_events(keeper);
    machine->qmp_source = loop_remove(machine->qmp_source);
}

void machine_free(Keeper *keeper) {
    Machine *machine = &keeper->machine;
    machine->qmp_source = loop_remove(machine->qmp_source);
    qmp_free(machine->qmp);
    machine->qmp = NULL;
    watched_close(&machine->pid);
    watched_close(&machine->console);
    watched_close(&machine->error_output);
    logfile_close(&machine->console_log);
    logfile_close(&machine->error_log);
}
