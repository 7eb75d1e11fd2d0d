/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/sandbox.h"

/* Each call that is allowed stands beside its reason. What is not here and matters: execve, clone,
 * fork, socket, connect, bind, listen, ptrace, mount, the whole of setuid, ioctl but for the two
 * that stdio makes. A hostile guest that took over this program could read and write what the VM's
 * own user can, and talk on the sockets that are open, and no more. */

#include <errno.h>
#include <seccomp.h>

#include "keeper/privileges.h"
#include "memory/dirty.h"

int sandbox_drop_privileges(uid_t uid, gid_t gid, Error *error) {
    const char *failed;
    int r = privileges_drop(uid, gid, &failed);
    return r < 0 ? error_set_errno(error, -r, "cannot %s (user %u)", failed, (unsigned)uid) : 0;
}

#ifndef KEEPER_NO_SECCOMP

static const int allowed_calls[] = {
    /* clients, guest, QEMU: loop.c, request.c, session.c, machine.c, qmp.c */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockopt), /* SO_PEERCRED */
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(fcntl),
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    /* logs and exit.json: logfile.c, record.c, path_write_atomic_at */
    SCMP_SYS(openat),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(rename),
    SCMP_SYS(unlinkat),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fchmod),
    SCMP_SYS(lseek),
    SCMP_SYS(ftruncate),
    /* snapshots: reading QEMU's memory and patching it, through descriptors opened before */
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(fallocate),
    SCMP_SYS(process_vm_readv), /* faster than /proc/PID/mem; the kernel checks as for ptrace */
    SCMP_SYS(sync_file_range),
    SCMP_SYS(copy_file_range),
    /* QEMU's end: machine.c */
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(waitid),
    SCMP_SYS(wait4),
    /* memory: malloc, large buffers; never executable, see below */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* clocks (where the vDSO cannot), random numbers */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    /* the C library's own: stdio's buffers, abort, locks, the end */
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(geteuid),
    SCMP_SYS(getuid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

static const int allowed_holder_calls[] = {
    /* clients: hold.c */
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockopt),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(fcntl), /* seals */
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(write), /* its log */
    /* the C library's own */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom), /* jansson's hash seed */
    SCMP_SYS(getuid),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* mmap and mprotect without PROT_EXEC (4). */
static int allow_memory(scmp_filter_ctx context) {
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(calls); i++)
        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, calls[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
    return r;
}

/* ioctl only to ask the page map which pages are dirty: memory/dirty.c. */
static int allow_page_scan(scmp_filter_ctx context) {
    return seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                            SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, DIRTY_PAGES_IOCTL));
}

static int load_filter(scmp_filter_ctx context, const int *calls, size_t n_calls) {
    int r = allow_memory(context);
    if (r == 0 && calls == allowed_calls)
        r = allow_page_scan(context);
    for (size_t i = 0; r == 0 && i < n_calls; i++)
        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, calls[i], 0);
    return r < 0 ? r : seccomp_load(context);
}

static int filter(const int *calls, size_t n_calls, Error *error) {
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!context)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "cannot make the system call filter");
    int r = load_filter(context, calls, n_calls);
    seccomp_release(context);
    return r < 0 ? error_set_errno(error, -r, "cannot load the system call filter") : 0;
}

int sandbox_filter_calls(Error *error) {
    return filter(allowed_calls, ARRAY_SIZE(allowed_calls), error);
}

int sandbox_filter_holder_calls(Error *error) {
    return filter(allowed_holder_calls, ARRAY_SIZE(allowed_holder_calls), error);
}

#else

int sandbox_filter_calls(Error *error) {
    return 0;
}

int sandbox_filter_holder_calls(Error *error) {
    return 0;
}

#endif
