/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vigil.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static cpu_set_t before;

static bool runs_like_others(void) {
    cpu_set_t now;

    return sched_getscheduler(0) == SCHED_OTHER && sched_getaffinity(0, sizeof(now), &now) == 0 &&
           CPU_EQUAL(&now, &before);
}

/* What a child of the agent finds when it leaves the vigil. */
static bool child_is_free(void) {
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        vigil_leave();
        _exit(runs_like_others() ? 0 : 1);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool may_have_priority(void) {
    struct sched_param fifo = {.sched_priority = 1}, other = {0};
    bool may = sched_setscheduler(0, SCHED_FIFO, &fifo) == 0;

    CHECK_INT(sched_setscheduler(0, SCHED_OTHER, &other), 0);
    return may;
}

static long throttle(void) {
    FILE *file = fopen("/proc/sys/kernel/sched_rt_runtime_us", "re");
    long usec = 0;

    if (file) {
        CHECK_INT(fscanf(file, "%ld", &usec), 1);
        (void)fclose(file);
    }
    return usec;
}

/* Others get no share of the time meanwhile; where the limit cannot be written it stays. */
static bool may_lift_throttle(void) {
    return access("/proc/sys/kernel/sched_rt_runtime_us", W_OK) == 0;
}

static void test_vigil(void) {
    Vigil vigil = {0};
    long limit = throttle();
    bool may = may_have_priority();

    CHECK_INT(sched_getaffinity(0, sizeof(before), &before), 0);
    for (int i = 0; i < 2; i++) {
        vigil_begin(&vigil);
        CHECK(vigil.on);
        CHECK(vigil.ends_at_usec > now_usec());
        bool held = sched_getscheduler(0) == SCHED_FIFO, freed = child_is_free();
        long meanwhile = throttle();

        vigil_end(&vigil); /* nobody else runs before, so look at what was found only now */
        CHECK_INT(held, may);
        CHECK_INT(meanwhile, may_lift_throttle() ? -1 : limit);
        CHECK_INT(throttle(), limit);
        CHECK(freed);
        CHECK(!vigil.on);
        CHECK(runs_like_others());
        while (waitpid(-1, NULL, 0) > 0) /* the sentries go by themselves */
            ;
        CHECK_INT(errno, ECHILD);
    }
    CHECK(child_is_free());
}

int main(void) {
    RUN(test_vigil);
    return 0;
}
