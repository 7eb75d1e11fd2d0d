/* SPDX-License-Identifier: Apache-2.0 */
/* All that the agent needs is in memory before the snapshot, and writable without a page fault
 * (mlockall breaks what a fork left shared): to an emulated CPU whose translations are all new, a
 * fault costs more than the work itself.
 *
 * Sentries are children that spin on a flag in memory that they share with the agent. They are a
 * step below the agent, end with it, and end by themselves when their time is over. */

#include "agent/vigil.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define PRIORITY 50

static volatile bool *watch; /* shared with the sentries; NULL: not made yet */
static cpu_set_t all_cpus;   /* where the agent may run otherwise */

/* musl's own refuses: it holds that Linux does not do what POSIX says of whole processes. */
static int set_scheduler(int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};

    return (int)syscall(SYS_sched_setscheduler, 0, policy, &parameters);
}

static bool take_cpu(int cpu, int priority) {
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0 && set_scheduler(SCHED_FIFO, priority) == 0;
}

static void stand_sentry(int cpu, pid_t agent, uint64_t ends_at_usec) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != agent || !take_cpu(cpu, PRIORITY - 1))
        return;
    while (*watch && now_usec() < ends_at_usec)
        __builtin_ia32_pause();
}

static void post_sentries(int own_cpu, uint64_t ends_at_usec) {
    pid_t agent = getpid();

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (cpu == own_cpu || !CPU_ISSET((size_t)cpu, &all_cpus))
            continue;
        pid_t pid = fork();

        if (pid < 0)
            return;
        if (pid == 0) {
            stand_sentry(cpu, agent, ends_at_usec);
            _exit(0);
        }
    }
}

void vigil_begin(Vigil *vigil) {
    int cpu = sched_getcpu();

    vigil->ends_at_usec = now_usec() + VIGIL_USEC;
    if (!watch) {
        void *page =
            mmap(NULL, sizeof(*watch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (page == MAP_FAILED)
            return;
        watch = page;
    }
    if (vigil->on || cpu < 0 || sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0)
        return;
    *watch = true;
    post_sentries(cpu, vigil->ends_at_usec);
    (void)mlockall(MCL_CURRENT);
    if (!take_cpu(cpu, PRIORITY))
        agent_log("no real-time priority: programs may run before a clone is itself");
    vigil->on = true;
}

static void run_like_others(void) {
    (void)set_scheduler(SCHED_OTHER, 0);
    (void)sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

void vigil_leave(void) {
    if (watch && *watch)
        run_like_others();
}

void vigil_end(Vigil *vigil) {
    if (!vigil->on)
        return;
    *watch = false;
    run_like_others();
    (void)munlockall();
    vigil->on = false;
}
