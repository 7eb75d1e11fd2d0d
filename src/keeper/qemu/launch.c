/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "zygote/client.h"

#define FIRST_CHILD_FD 3
#define CHILD_FDS_MAX (2 * PLAN_DISKS_MAX * PLAN_CHAIN_MAX + 16)

typedef struct Launch {
    Plan plan; /* borrows what the real one owns; in it, descriptors are their numbers in QEMU */
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

static void give_planned(Launch *launch, const int *fds, PlanFd *fd) {
    *fd = *fd < 0 ? -1 : give(launch, fds[*fd]);
}

static void give_all(Launch *launch, const int *fds) {
    Plan *plan = &launch->plan;
    give_planned(launch, fds, &plan->memory_fd);
    for (size_t i = 0; i < plan->n_disks; i++)
        for (size_t k = 0; k < plan->disks[i].n_files; k++) {
            give_planned(launch, fds, &plan->disks[i].files[k].fd);
            give_planned(launch, fds, &plan->disks[i].files[k].fd_write);
        }
    for (size_t i = 0; i < plan->n_cards; i++)
        give_planned(launch, fds, &plan->cards[i].fd);
    give_planned(launch, fds, &plan->firmware_fd);
    give_planned(launch, fds, &plan->variables_fd);
    if (plan->boot == PLAN_BOOT_COLD) {
        give_planned(launch, fds, &plan->kernel_fd);
        give_planned(launch, fds, &plan->initrd_fd);
    }
}

/* Which nodes and files the disks are written to, for snapshots. */
static void note_disks(Machine *machine, const Plan *plan, const int *fds) {
    for (size_t i = 0; i < plan->n_disks; i++) {
        struct stat file;
        PlanFd fd = plan->disks[i].files[0].fd_write;
        MachineDisk *disk = &machine->disks[i];
        qemu_disk_node(i, 0, disk->node);
        if (fd < 0 || fstat(fds[fd], &file) < 0)
            continue;
        disk->device = file.st_dev;
        disk->inode = file.st_ino;
    }
}

/* The ends that QEMU gets; ours are in the keeper already. Closed once it has them. */
typedef struct QemuEnds {
    int qmp, channel, console, error_output; /* owned */
} QemuEnds;

static void ends_close(QemuEnds *ends) {
    fd_close(ends->qmp);
    fd_close(ends->channel);
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

static int make_ends(Machine *machine, int *channel_fd, QemuEnds *ends, Error *error) {
    int qmp = -1, pipes[2];
    int r = make_pair(&qmp, &ends->qmp);
    if (r == 0)
        machine->qmp = qmp_new(qmp);
    if (r == 0)
        r = make_pair(channel_fd, &ends->channel);
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

static int spawn(Launch *launch, char **argv, pid_t *pid, Error *error) {
    SpawnOptions options = {.program = launch->plan.qemu,
                            .argv = argv,
                            .fds = launch->moves,
                            .n_fds = launch->n_moves,
                            .die_with_parent = true};
    return spawn_process(&options, pid, error);
}

/* A child that the zygote made for us, or one of our own. */
static int start_process(Machine *machine, QemuChild *child, Launch *launch, char **argv,
                         pid_t *pid, Error *error) {
    if (child->socket < 0)
        return spawn(launch, argv, pid, error);
    *pid = child->pid;
    bool remaps;
    machine->userfaultfd = zygote_receive_userfaultfd(child->socket, &remaps);
    int r = zygote_launch(child->socket, argv, launch->moves, launch->n_moves, launch->plan.uid,
                          launch->plan.gid, str_equal(launch->plan.accel, "kvm"), error);
    if (remaps && r == 0)
        machine->remapping.socket = TAKE_FD(child->socket);
    child->socket = fd_close(child->socket);
    return r;
}

static int start_with(Machine *machine, Launch *launch, const QemuEnds *ends, QemuChild *child,
                      pid_t *pid, Error *error) {
    StrList argv = {0};
    const QemuSockets sockets = {.qmp = give(launch, ends->qmp),
                                 .agent = give(launch, ends->channel),
                                 .console = give(launch, ends->console)};
    int r = qemu_build_argv(&launch->plan, &sockets, &argv, error);
    if (r == 0 && launch->n_moves + 2 > CHILD_FDS_MAX)
        r = error_set(error, ERROR_USAGE, E2BIG, "the plan has too many files");
    if (r == 0) {
        for (int to = 1; to <= 2; to++)
            launch->moves[launch->n_moves++] = (SpawnFd){.from = ends->error_output, .to = to};
        r = start_process(machine, child, launch, argv.items, pid, error);
    }
    strlist_free(&argv);
    return r;
}

static int identify(Machine *machine, pid_t pid, Error *error) {
    int r = process_identify(pid, &machine->process);
    if (r < 0)
        return error_set_errno(error, -r, "QEMU was gone at once");
    machine->pid.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (machine->pid.fd < 0)
        return error_set_errno(error, errno, "cannot watch QEMU");
    machine->remapping.pid_fd = machine->pid.fd;
    return 0;
}

int launch_qemu(Machine *machine, const Plan *plan, const int *fds, QemuChild *child,
                int *channel_fd, Error *error) {
    _cleanup_free_ Launch *launch = calloc(1, sizeof(*launch)); /* too large for a small stack */
    _cleanup_(ends_close) QemuEnds ends = {-1, -1, -1, -1};
    pid_t pid;
    if (!launch)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    launch->plan = *plan;
    give_all(launch, fds);
    note_disks(machine, plan, fds);
    int r = make_ends(machine, channel_fd, &ends, error);
    if (r == 0)
        r = start_with(machine, launch, &ends, child, &pid, error);
    return r == 0 ? identify(machine, pid, error) : r;
}
