/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

/* Field 22 of /proc/PID/stat. Field 2, the name, may itself hold spaces and parentheses, so fields
 * are counted from the last ')' on: field 3 comes first after it. */
static int parse_start_ticks(const char *stat, uint64_t *ticks) {
    const char *next = strrchr(stat, ')');
    for (int field = 2; next && field < 22; field++)
        next = strchr(next + 1, ' ');
    if (!next)
        return -EBADMSG;
    _cleanup_free_ char *digits = str_format("%.*s", (int)strspn(next + 1, "0123456789"), next + 1);
    return parse_u64(digits, UINT64_MAX, ticks);
}

int process_identify(pid_t pid, ProcessIdentity *identity) {
    if (pid <= 0)
        return -ESRCH;
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    _cleanup_free_ char *stat = NULL;
    int r = fd_read_file_at(AT_FDCWD, path, 16 * KIB, &stat, NULL);
    if (r < 0)
        return r == -ENOENT ? -ESRCH : r;
    ProcessIdentity found = {.pid = pid};
    r = parse_start_ticks(stat, &found.start_ticks);
    if (r < 0)
        return r;
    *identity = found;
    return 0;
}

/* A pidfd becomes readable when the process exits, also before it is reaped. */
static int wait_exit(int pid_fd, uint64_t deadline_usec) {
    struct pollfd item = {.fd = pid_fd, .events = POLLIN};
    for (;;) {
        int n = poll(&item, 1, clock_poll_timeout(deadline_usec));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0 && clock_poll_timeout(deadline_usec) == 0)
            return -ETIMEDOUT;
    }
}

/* One that has not exited by now had its number all the time. */
int process_identify_held(int pid_fd, pid_t pid, ProcessIdentity *identity) {
    ProcessIdentity found;
    int r = process_identify(pid, &found);
    if (r < 0)
        return r;
    if (wait_exit(pid_fd, 0) == 0)
        return -ESRCH;
    *identity = found;
    return 0;
}

/* The pidfd is taken first: once it is held and the start time fits, it is the right process, also
 * if it exits and its number is used again in between. */
int process_open(const ProcessIdentity *identity) {
    if (identity->pid <= 0)
        return -ESRCH;
    _cleanup_close_ int fd = pidfd_open(identity->pid, 0);
    if (fd < 0) /* now the number of a thread: EINVAL, and from Linux 6.15 on ENOENT */
        return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
    ProcessIdentity now;
    int r = process_identify(identity->pid, &now);
    if (r < 0)
        return r;
    if (now.start_ticks != identity->start_ticks || wait_exit(fd, 0) == 0)
        return -ESRCH;
    return TAKE_FD(fd);
}

int process_signal(const ProcessIdentity *identity, int signal) {
    _cleanup_close_ int fd = process_open(identity);
    if (fd < 0)
        return fd;
    return pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
}

int process_wait_gone(const ProcessIdentity *identity, uint64_t deadline_usec) {
    _cleanup_close_ int fd = process_open(identity);
    if (fd < 0)
        return fd == -ESRCH ? 0 : fd;
    return wait_exit(fd, deadline_usec);
}

uint64_t process_cpu_usec(pid_t pid) {
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
        return 0;
    return (uint64_t)time.tv_sec * USEC_PER_SEC + (uint64_t)time.tv_nsec / 1000;
}
