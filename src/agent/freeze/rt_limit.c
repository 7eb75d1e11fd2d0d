/* SPDX-License-Identifier: Apache-2.0 */
/* What the limit was before is in a page of a file in /run and not in one process's memory: agent
 * and guard share it, the next agent finds it, and a clone changes it without a system call.
 *
 * The guard is a child that sleeps. It wakes when the agent ends, which closes a pipe, or some time
 * after the limit should have come back, as when the agent was stopped: a timer tells, so that
 * nothing wakes it before. It stays, asleep, for the next time. Where the agent is PID 1 there is
 * none, since the kernel does not outlive that. */

#include "agent/freeze/rt_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#define LIMIT_FILE "/proc/sys/kernel/sched_rt_runtime_us"
#define NOTE_FILE RUN_FOLDER "/rt-limit"
#define GRACE_USEC 1000000u /* the agent may be late */
#define GUARD_MSEC 1000     /* until the guard has its CPU */

typedef struct Note {
    char before[32]; /* what the limit was; "": it is not lifted */
    uint64_t ends_at_usec;
} Note;

static Note *note;        /* NULL: not mapped yet */
static int limit_fd = -1; /* owned; -1: there is none, or it cannot be changed */
static int timer_fd = -1; /* owned, and the guard's */
static int agent_fd = -1; /* owned: the guard sees it close */

static int map_note(void) {
    void *map = note;
    int r = note ? 0 : map_run_file(NOTE_FILE, 0600, sizeof(*note), &map, NULL);
    note = map;
    if (r == 0 && limit_fd < 0)
        limit_fd = open(LIMIT_FILE, O_RDWR | O_CLOEXEC);
    return r;
}

void rt_limit_restore(void) {
    if (!note || note->before[0] == '\0')
        return;
    (void)!pwrite(limit_fd, note->before, strnlen(note->before, sizeof(note->before)), 0);
    note->before[0] = '\0';
}

static void set_timer(uint64_t at_usec) {
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_usec / 1000000u),
                                                 .tv_nsec = (long)(at_usec % 1000000u * 1000u)}};
    (void)timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The bound may have moved since the timer was set. */
static void check_bound(void) {
    uint64_t expired;
    if (read(timer_fd, &expired, sizeof(expired)) < 0 || note->before[0] == '\0')
        return;
    if (now_usec() >= note->ends_at_usec)
        rt_limit_restore();
    else
        set_timer(note->ends_at_usec + GRACE_USEC);
}

/* No signal but SIGKILL ends it, no program of a high priority keeps its CPU from it, and nothing
 * of the agent's stays open in it, lest the next agent waits for the channel. */
static void __attribute__((noreturn)) run_guard(int end_fd, int ready_fd) {
    const struct sched_param priority = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
    const uint64_t ready = 1;
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &priority);
    int fds[] = {end_fd, timer_fd, limit_fd, ready_fd};
    keep_fds(fds, 4);
    timer_fd = fds[1];
    limit_fd = fds[2];
    struct pollfd wait[] = {{.fd = fds[0], .events = POLLIN}, {.fd = timer_fd, .events = POLLIN}};
    (void)!write(fds[3], &ready, sizeof(ready));
    while (poll(wait, 2, -1) < 0 || !wait[0].revents)
        check_bound();
    rt_limit_restore();
    _exit(0);
}

/* Waits until it is asleep, so that a clone need not wake it for that. */
static int fork_guard(void) {
    int fds[2];
    _cleanup_close_ int ready_fd = eventfd(0, EFD_CLOEXEC);
    struct pollfd ready = {.fd = ready_fd, .events = POLLIN};
    if (ready_fd < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(fds[1]);
        run_guard(fds[0], ready_fd);
    }
    int r = pid < 0 ? -errno : 0;
    (void)close(fds[0]);
    agent_fd = fds[1];
    return r == 0 && poll(&ready, 1, GUARD_MSEC) == 0 ? -EBUSY : r;
}

static bool is_guarded(void) {
    struct pollfd end = {.fd = agent_fd};
    return getpid() == 1 || (agent_fd >= 0 && poll(&end, 1, 0) == 0); /* POLLERR: it was killed */
}

int rt_limit_prepare(void) {
    int r = map_note();
    if (r < 0 || limit_fd < 0 || is_guarded())
        return r;
    if (timer_fd < 0)
        timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    close_fd(&agent_fd);
    return timer_fd < 0 ? -errno : fork_guard();
}

int rt_limit_lift(uint64_t ends_at_usec) {
    char before[sizeof(note->before)] = "";
    ssize_t size = limit_fd < 0 ? 0 : pread(limit_fd, before, sizeof(before) - 1, 0);
    note->ends_at_usec = ends_at_usec;
    if (size <= 0 || note->before[0]) /* lifted already */
        return size < 0 ? -errno : 0;
    if (timer_fd >= 0)
        set_timer(ends_at_usec + GRACE_USEC);
    memcpy(note->before, before, sizeof(before)); /* first, should we die in between */
    if (pwrite(limit_fd, "-1", 2, 0) == 2)
        return 0;
    note->before[0] = '\0';
    return -errno;
}

void rt_limit_extend(uint64_t ends_at_usec) {
    if (note)
        note->ends_at_usec = ends_at_usec;
}

void rt_limit_restore_left_over(void) {
    if (access(NOTE_FILE, F_OK) == 0 && map_note() == 0)
        rt_limit_restore();
}
