/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/sandbox.h"

/* Each call that is allowed stands beside its reason. A guest that took over this program could
 * send and receive as its user, on the frames of this network, and no more. */

#include <errno.h>
#include <sys/socket.h>

#include "zygote/call_filter.h"
#include "zygote/privileges.h"

static const int allowed_calls[] = {
    /* frames, clients, captures: port.c, control.c, capture.c */
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(accept4),
    SCMP_SYS(accept),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(fstat), /* is it a pipe? */
    SCMP_SYS(newfstatat),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_create1), /* uplink.c */
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(fcntl),
    SCMP_SYS(close),
    /* outside: libslirp, resolver.c; socket is below */
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(dup3),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(ioctl), /* FIONREAD, FIONBIO */
    /* memory: malloc; mmap and mprotect: zygote/call_filter.c */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* clocks (where the vDSO cannot), random numbers */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    /* the C library's own: abort, locks, the end */
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(gettid),
    SCMP_SYS(geteuid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

static int allow_sockets(scmp_filter_ctx context) {
    static const uint64_t families[] = {AF_INET, AF_INET6};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++)
        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, families[i]));
    return r;
}

/* GLib draws a seed from /dev/urandom where it can, and takes the clock where it cannot; libslirp
 * uses it for no secrets. */
static int refuse_opening(scmp_filter_ctx context) {
    static const int calls[] = {SCMP_SYS(openat), SCMP_SYS(open)};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(calls); i++)
        r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EACCES), calls[i], 0);
    return r;
}

static int add_rules(scmp_filter_ctx context) {
    int r = allow_sockets(context);
    return r < 0 ? r : refuse_opening(context);
}

int sandbox_enter(uid_t uid, gid_t gid, Error *error) {
    const char *failed;
    int r = privileges_drop(uid, gid, false, &failed);
    if (r < 0)
        return error_set_errno(error, -r, "cannot %s (user %u)", failed, (unsigned)uid);
    return call_filter_load(allowed_calls, ARRAY_SIZE(allowed_calls), add_rules, error);
}
