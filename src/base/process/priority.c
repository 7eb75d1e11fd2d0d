/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/priority.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define HASTY_SLICE_NS 100000 /* the least that the kernel takes */

static bool is_own_set;
static int own_base;

int priority_base(void) {
    return is_own_set ? own_base : getpriority(PRIO_PROCESS, 0);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool may_raise;

/* Of this thread, for a moment: also in containers it tells what is so. */
static void try_to_raise(void) {
    int value = getpriority(PRIO_PROCESS, 0);
    may_raise = setpriority(PRIO_PROCESS, 0, value - 1) == 0;
    if (may_raise)
        (void)setpriority(PRIO_PROCESS, 0, value);
}

bool priority_may_raise(void) {
    (void)pthread_once(&once, try_to_raise);
    return may_raise;
}

int priority_set_session(pid_t leader, int nice) {
    int value = priority_base() + nice;
    /* one that was forked a moment ago leads nobody yet */
    if (setpriority(PRIO_PGRP, (id_t)leader, value) < 0 &&
        (errno != ESRCH || setpriority(PRIO_PROCESS, (id_t)leader, value) < 0))
        return -errno;
    _cleanup_free_ char *path = str_format("/proc/%d/autogroup", (int)leader);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return dprintf(fd, "%d", value) < 0 ? -errno : 0;
}

/* As sched_setattr(2) has it; the C library's headers differ in who declares it. */
typedef struct SchedulerAttributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
} SchedulerAttributes;

int priority_set_hasty(pid_t thread, bool hasty) {
    SchedulerAttributes attributes = {.size = sizeof(attributes)};
    if (syscall(SYS_sched_getattr, thread, &attributes, sizeof(attributes), 0) < 0)
        return -errno;
    attributes.runtime_ns = hasty ? HASTY_SLICE_NS : 0; /* 0: as any other */
    return syscall(SYS_sched_setattr, thread, &attributes, 0) < 0 ? -errno : 0;
}

int priority_set_own(int nice) {
    if (getsid(0) != getpid())
        return 0;
    own_base = priority_base();
    is_own_set = true;
    return priority_set_session(getpid(), nice);
}
