/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/exclusive_cpu.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/freeze/rt_limit.h"
#include "check.h"

static cpu_set_t before;

static bool runs_like_others(void) {
    cpu_set_t now;
    return sched_getscheduler(0) == SCHED_OTHER && sched_getaffinity(0, sizeof(now), &now) == 0 &&
           CPU_EQUAL(&now, &before);
}

/* What a child of the agent finds when it is freed of it. */
static bool child_is_free(void) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        exclusive_cpu_leave();
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

#define LIMIT "/proc/sys/kernel/sched_rt_runtime_us"

static long limit(void) {
    FILE *file = fopen(LIMIT, "re");
    long usec = 0;
    if (file) {
        CHECK_INT(fscanf(file, "%ld", &usec), 1);
        (void)fclose(file);
    }
    return usec;
}

/* Others get no share of the time meanwhile; where the limit cannot be written it stays. */
static bool may_lift_limit(void) {
    return access(LIMIT, W_OK) == 0;
}

static void reap_all(void) {
    while (waitpid(-1, NULL, 0) > 0)
        ;
    CHECK_INT(errno, ECHILD);
}

/* In a process of its own, whose end is that of the guard. Nobody else runs before the end, so what
 * was found is checked only then. */
static void begin_and_end(void) {
    ExclusiveCpu exclusive = {0};
    long before_all = limit();
    bool may = may_have_priority();
    CHECK_INT(sched_getaffinity(0, sizeof(before), &before), 0);
    for (int i = 0; i < 2; i++) {
        Result result = {0};
        exclusive_cpu_begin(&exclusive, &result);
        bool on = exclusive.on && exclusive.ends_at_usec > now_usec();
        bool holds = exclusive_cpu_holds(&exclusive), complete = exclusive.complete;
        bool fifo = sched_getscheduler(0) == SCHED_FIFO;
        long meanwhile = limit();
        bool freed = child_is_free(); /* it sleeps until the child has ended */
        bool still = exclusive_cpu_holds(&exclusive);
        exclusive_cpu_end(&exclusive);
        CHECK(on);
        CHECK_INT(fifo, may);
        CHECK_INT(complete, result.error == 0);
        CHECK(may || !complete);
        CHECK_INT(holds, complete);
        CHECK(!still);
        CHECK_INT(meanwhile, may_lift_limit() && complete ? -1 : before_all);
        CHECK_INT(limit(), before_all);
        CHECK(freed);
        CHECK(!exclusive.on);
        CHECK(!exclusive_cpu_holds(&exclusive));
        CHECK(runs_like_others());
    }
    CHECK(child_is_free());
}

/* The agent, which lets the test see that it has begun, and stays so. */
static void begin_and_stay(int told_fd) {
    ExclusiveCpu exclusive = {0};
    Result result = {0};
    exclusive_cpu_begin(&exclusive, &result);
    bool lifted = exclusive.complete && limit() == -1;
    CHECK_INT(write(told_fd, &lifted, sizeof(lifted)), sizeof(lifted));
    for (;;)
        (void)pause();
}

static bool begin_in_child(pid_t *agent) {
    int fds[2];
    bool lifted = false;
    CHECK_INT(pipe(fds), 0);
    *agent = fork();
    if (*agent == 0) {
        (void)close(fds[0]);
        begin_and_stay(fds[1]);
    }
    (void)close(fds[1]);
    CHECK_INT(read(fds[0], &lifted, sizeof(lifted)), sizeof(lifted));
    (void)close(fds[0]);
    return lifted;
}

static void test_begin_and_end(void) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        begin_and_end();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    reap_all(); /* its stoppers and its guard go by themselves, and are ours then */
}

static unsigned sleeps;

static void take_no_lock(void) {
}

static void sleep_some_times(void) {
    if (sleeps == 0)
        return;
    sleeps--;
    (void)usleep(1000);
}

/* It counts from when nobody had to be waited for. The stoppers do not outlast the wait. */
static void settle(void) {
    static const struct {
        unsigned sleeps;
        bool settled;
    } cases[] = {{0, true}, {1, true}, {2, false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ExclusiveCpu exclusive = {0};
        Result result = {0};
        exclusive_cpu_begin(&exclusive, &result);
        bool complete = exclusive.complete;
        sleeps = cases[i].sleeps;
        uint64_t began = now_usec();
        bool settled = exclusive_cpu_settle(&exclusive, sleep_some_times);
        bool again = exclusive_cpu_settle(&exclusive, take_no_lock);
        bool longer = exclusive.ends_at_usec > now_usec() + EXCLUSIVE_CPU_USEC / 2;
        bool quick = now_usec() - began < 50000; /* else the host was busy, and they left */
        exclusive_cpu_end(&exclusive);
        CHECK(!settled || (complete && cases[i].settled));
        CHECK(!quick || settled == (complete && cases[i].settled));
        CHECK(!quick || again == complete);
        CHECK(longer);
    }
}

static void test_settle(void) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        settle();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    reap_all();
}

/* The guard is the only child of the agent's that outlives it; it ends once the limit is back. */
static void test_agent_is_killed(void) {
    long before_all = limit();
    pid_t agent;
    bool lifted = begin_in_child(&agent);
    CHECK_INT(kill(agent, SIGKILL), 0);
    reap_all();
    CHECK_INT(limit(), before_all);
    CHECK_INT(lifted, may_lift_limit() && may_have_priority());
}

/* All of it is killed: the next agent finds what the limit was. */
static void test_all_are_killed(void) {
    long before_all = limit();
    pid_t agent;
    bool lifted = begin_in_child(&agent);
    CHECK_INT(kill(agent, SIGSTOP), 0); /* it ends last, so that the guard sees nothing */
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)agent, (int)agent);
    FILE *children = fopen(path, "re");
    CHECK(children != NULL);
    for (int child; fscanf(children, "%d", &child) == 1;)
        CHECK_INT(kill(child, SIGKILL), 0);
    (void)fclose(children);
    CHECK_INT(kill(agent, SIGKILL), 0);
    reap_all();
    CHECK_INT(limit(), lifted ? -1 : before_all);
    rt_limit_restore_left_over();
    CHECK_INT(limit(), before_all);
}

/* The agent is stopped for longer than it may be lifted: the guard does not wait for its end. */
static void test_agent_hangs(void) {
    const uint64_t bound_usec = 100000;
    long before_all = limit();
    int status = 0;
    pid_t agent = fork();
    if (agent == 0) {
        CHECK_INT(rt_limit_prepare(), 0);
        CHECK_INT(rt_limit_lift(now_usec() + bound_usec), 0);
        CHECK_INT(limit(), may_lift_limit() ? -1 : before_all);
        CHECK_INT(raise(SIGSTOP), 0);
        _exit(0);
    }
    CHECK_INT(waitpid(agent, &status, WUNTRACED), agent);
    CHECK(WIFSTOPPED(status));
    for (uint64_t end = now_usec() + 600 * bound_usec; limit() != before_all && now_usec() < end;)
        (void)usleep(10000);
    CHECK_INT(limit(), before_all);
    CHECK_INT(kill(agent, SIGKILL), 0);
    reap_all();
}

/* The note of the limit is in /run, and not in that of this machine. */
static bool has_own_run(void) {
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("run", "/run", "tmpfs", 0, NULL) == 0;
}

int main(void) {
    if (!has_own_run()) {
        fprintf(stderr, "needs root for priorities, the limit and a /run of its own\n");
        return 77;
    }
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    RUN(test_begin_and_end);
    RUN(test_settle);
    RUN(test_agent_is_killed);
    RUN(test_all_are_killed);
    RUN(test_agent_hangs);
    return 0;
}
