/* SPDX-License-Identifier: Apache-2.0 */

/* ramet-keeper --listen-fd N: the parent of one VM's QEMU. See keeper.h for how its parts fit.
 * With --qemu N PID it has a child already that becomes QEMU when it is told so through N.
 * ramet-keeper --probe-kvm: does /dev/kvm run guest code? In a process of its own, since a broken
 * one may hang. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/process/empty_network.h"
#include "base/str.h"
#include "keeper/keeper.h"
#include "qemu/accel.h"

static bool is_number(const char *text, int *fd) {
    uint64_t number;
    if (parse_u64(text, 1 << 22, &number) < 0)
        return false;
    *fd = (int)number;
    return true;
}

/* What a zygote's keeper gets beside --listen-fd. */
static bool is_qemu(int argc, char **argv, QemuChild *child) {
    int pid;
    if (argc != 6 || !str_equal(argv[3], "--qemu") || !is_number(argv[4], &child->socket) ||
        !is_number(argv[5], &pid))
        return false;
    child->pid = pid;
    return true;
}

static int parse_arguments(int argc, char **argv, int *listen_fd, QemuChild *child) {
    if (argc == 2 && str_equal(argv[1], "--version")) {
        puts("ramet-keeper " RAMET_VERSION);
        exit(0);
    }
    if (argc == 2 && str_equal(argv[1], "--probe-kvm"))
        exit(accel_probe_main(NULL));
    if (argc >= 3 && str_equal(argv[1], "--listen-fd") && is_number(argv[2], listen_fd) &&
        (argc == 3 || is_qemu(argc, argv, child)))
        return 0;
    fprintf(stderr, "usage: ramet-keeper --listen-fd NUMBER [--qemu NUMBER PID] | --probe-kvm\n"
                    "Started by rametd; not meant to be started by hand.\n");
    return 2;
}

/* A plan can bring two descriptors for each of many disk files. */
static void raise_fd_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Also QEMU's, which inherits it. QEMU asks for huge pages for the code that it makes and for each
 * of its memory blocks, and a clone that hardly runs fills none: 4 MB of each idle one were empty
 * halves of them. Boots and forks take the same time without. */
static void use_small_pages(void) {
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* Signals that a terminal or a stray group kill sends would end the VM with the keeper. */
static void ignore_signals(void) {
    static const int ignored[] = {SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
}

/* Also QEMU's. A zygote's child is where that is; `ramet doctor` tells what is in the way. */
static void leave_network(const QemuChild *child) {
    if (child->pid <= 0)
        (void)empty_network_enter();
}

static Keeper keeper; /* large, and there is one */

static int keep(int listen_fd, const QemuChild *child, Error *error) {
    int r = keeper_new(listen_fd, child, &keeper, error);
    if (r == 0)
        r = loop_run(keeper.loop);
    keeper_free(&keeper);
    return r;
}

int main(int argc, char **argv) {
    int listen_fd = -1;
    QemuChild child = {.socket = -1};
    if (fd_open_standard() < 0)
        return 1;
    int r = parse_arguments(argc, argv, &listen_fd, &child);
    if (r > 0)
        return r;
    log_init("ramet-keeper", LOG_LEVEL_INFO);
    raise_fd_limit();
    use_small_pages();
    ignore_signals();
    leave_network(&child);
    _cleanup_error_ Error error = ERROR_INIT;
    r = keep(listen_fd, &child, &error);
    if (r < 0)
        log_error("%s", error.message ? error.message : strerror(-r));
    return r < 0;
}
