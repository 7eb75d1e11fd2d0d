/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/priority.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "check.h"

/* -1: the kernel has none, or not for this one. */
static int autogroup_nice(pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/autogroup", (int)pid), *text = NULL;
    int nice = -1;
    if (fd_read_file_at(AT_FDCWD, path, 256, &text, NULL) == 0)
        (void)sscanf(text, "/autogroup-%*d nice %d", &nice);
    return nice;
}

static void of_a_session(void) {
    const char *argv[] = {"sh", "-c", "sleep 100 & wait", NULL};
    SpawnOptions options = {.program = "sh", .argv = (char **)argv, .new_session = true};
    pid_t pid;
    int base = priority_base(), before;
    CHECK_INT(spawn_process(&options, &pid, NULL), 0);
    while (getpgid(pid) != pid) /* the thread sanitizer makes a fork of vfork */
        (void)poll(NULL, 0, 1);
    CHECK_INT(getpriority(PRIO_PROCESS, (id_t)pid), base);
    before = autogroup_nice(pid);
    CHECK_INT(priority_set_session(pid, 4), 0);
    CHECK_INT(getpriority(PRIO_PROCESS, (id_t)pid), base + 4);
    if (before >= 0)
        CHECK_INT(autogroup_nice(pid), base + 4);
    if (priority_may_raise()) {
        CHECK_INT(priority_set_session(pid, 0), 0);
        CHECK_INT(getpriority(PRIO_PGRP, (id_t)pid), base); /* the highest of all of them */
    }
    CHECK_INT(kill(-pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    while (kill(-pid, 0) == 0) /* its child is reaped by somebody else */
        (void)poll(NULL, 0, 1);
    CHECK_INT(priority_set_session(pid, 0), -ESRCH);
}

/* In a child, since it is for good. */
static int own_child(void) {
    const char *argv[] = {"cut", "-d ", "-f19", "/proc/self/stat", NULL};
    SpawnOptions options = {.program = "cut", .argv = (char **)argv};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    int base = priority_base();
    CHECK_INT(priority_set_own(2), 0);
    CHECK_INT(priority_base(), base); /* not of a session of ours: nothing happened */
    CHECK_INT(getpriority(PRIO_PROCESS, 0), base);
    CHECK(setsid() >= 0);
    bool first = priority_may_raise();
    int nice = first ? -3 : 3;
    CHECK_INT(priority_set_own(nice), 0);
    CHECK_INT(getpriority(PRIO_PROCESS, 0), base + nice);
    CHECK_INT(priority_base(), base);
    if (!first)
        return 0; /* what it starts could not go back */
    CHECK_INT(spawn_run(&options, 60 * USEC_PER_SEC, -1, &output, NULL), 0);
    CHECK_INT(strtol(output.out, NULL, 10), base);
    return 0;
}

static void of_our_own(void) {
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(own_child());
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

int main(void) {
    RUN(of_a_session);
    RUN(of_our_own);
    return 0;
}
