/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/process/sandbox.h"

/* Each call that is allowed stands beside its reason. What is not here and matters: execve, fork,
 * clone but for threads, socket, connect, bind, listen, ptrace, mount, the whole of setuid, ioctl
 * but for those of page tracking. A hostile guest that took over this program could read and write
 * what the VM's own user can, and talk on the sockets that are open, and no more. */

#include <errno.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "memory/pagemap.h"
#include "zygote/call_filter.h"
#include "zygote/privileges.h"

int sandbox_drop_privileges(uid_t uid, gid_t gid, bool kvm, Error *error) {
    const char *failed;
    int r = privileges_drop(uid, gid, kvm, &failed);
    return r < 0 ? error_set_errno(error, -r, "cannot %s (user %u)", failed, (unsigned)uid) : 0;
}

static const int allowed_calls[] = {
    /* clients, guest, QEMU: loop.c, connection.c, session.c, agent_channel.c, machine.c, qmp.c */
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
    /* logs and exit.json: logfile.c, end.c, path_write_atomic_at */
    SCMP_SYS(openat),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(rename),
    SCMP_SYS(unlinkat),
    SCMP_SYS(fstat),
    SCMP_SYS(fstatfs), /* is there room: room.c */
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
    /* memory: malloc, large buffers; mmap and mprotect: zygote/call_filter.c */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* threads that copy memory: loop_job.c, parallel.c; clone is below */
    SCMP_SYS(eventfd2),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    /* clocks (where the vDSO cannot), random numbers */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres), /* clock_getcpuclockid: process_cpu_usec */
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

/* ioctl only to ask the page map which pages are dirty (memory/pagemap.c), and to have those that
 * are written meanwhile told by QEMU's userfaultfd (memory/written.c). */
static int allow_page_tracking(scmp_filter_ctx context) {
    static const uint32_t numbers[] = {PAGEMAP_SCAN_NUMBER, UFFDIO_API, UFFDIO_REGISTER,
                                       UFFDIO_UNREGISTER};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, numbers[i]));
    return r;
}

/* clone only for threads. What clone3 is asked for lies in memory, where a filter cannot look; the
 * C library goes on with clone when there is no such call. */
static int allow_threads(scmp_filter_ctx context) {
    static const uint64_t flags = CLONE_VM | CLONE_THREAD;
    int r = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, flags, flags));
    return r < 0 ? r : seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int add_rules(scmp_filter_ctx context) {
    int r = allow_threads(context);
    return r < 0 ? r : allow_page_tracking(context);
}

int sandbox_filter_calls(Error *error) {
    return call_filter_load(allowed_calls, ARRAY_SIZE(allowed_calls), add_rules, error);
}
