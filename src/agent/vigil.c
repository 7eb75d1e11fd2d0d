/* SPDX-License-Identifier: Apache-2.0 */
/* All that the agent needs is in memory before the snapshot, and writable without a page fault
 * (mlockall breaks what a fork left shared): to an emulated CPU whose translations are all new, a
 * fault costs more than the work itself. It stays there, since it is small and unlocking is work.
 *
 * Sentries are children that spin on a flag in memory that they share with the agent. They are a
 * step below the agent, end with it, and end by themselves when their time is over.
 *
 * The kernel lets others run for a twentieth of each second, whatever the priority
 * (sched_rt_runtime_us). A clone on a busy host may need seconds to become itself, so this is
 * lifted meanwhile. */

#include "agent/vigil.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/apic_timer.h"

#define PRIORITY 50
#define THROTTLE "/proc/sys/kernel/sched_rt_runtime_us"

/* Shared with the sentries. */
typedef struct Watch {
    bool on;
    uint64_t ends_at_usec;
} Watch;

static volatile Watch *watch; /* NULL: not made yet */
static cpu_set_t all_cpus;    /* where the agent may run otherwise */
static int throttle_fd = -1;
static char throttle[32]; /* what it said before */

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

static void stand_sentry(int cpu, pid_t agent) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != agent || !take_cpu(cpu, PRIORITY - 1))
        return;
    while (watch->on && now_usec() < watch->ends_at_usec)
        __builtin_ia32_pause();
}

static void post_sentries(int own_cpu) {
    pid_t agent = getpid();

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (cpu == own_cpu || !CPU_ISSET((size_t)cpu, &all_cpus))
            continue;
        pid_t pid = fork();

        if (pid < 0)
            return;
        if (pid == 0) {
            stand_sentry(cpu, agent);
            _exit(0);
        }
    }
}

static void lift_throttle(void) {
    if (throttle_fd < 0)
        throttle_fd = open(THROTTLE, O_RDWR | O_CLOEXEC);
    ssize_t n = throttle_fd < 0 ? 0 : pread(throttle_fd, throttle, sizeof(throttle) - 1, 0);

    throttle[n < 0 ? 0 : n] = '\0';
    if (throttle[0] != '\0')
        (void)pwrite(throttle_fd, "-1", 2, 0);
}

static void restore_throttle(void) {
    if (throttle[0] != '\0')
        (void)pwrite(throttle_fd, throttle, strlen(throttle), 0);
    throttle[0] = '\0';
}

static bool share_watch(void) {
    void *page = watch ? (void *)watch
                       : mmap(NULL, sizeof(*watch), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    watch = page == MAP_FAILED ? NULL : page;
    return watch != NULL;
}

void vigil_begin(Vigil *vigil) {
    int cpu = sched_getcpu();

    vigil->ends_at_usec = now_usec() + VIGIL_USEC;
    if (vigil->on || cpu < 0 || sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0 ||
        !share_watch())
        return;
    lift_throttle();
    watch->on = true;
    watch->ends_at_usec = vigil->ends_at_usec;
    post_sentries(cpu);
    (void)mlockall(MCL_CURRENT);
    if (!take_cpu(cpu, PRIORITY))
        agent_log("no real-time priority: programs may run before a clone is itself");
    vigil->on = true;
}

bool vigil_keep(Vigil *vigil) {
    if (!vigil->on || vigil->ends_at_usec <= now_usec())
        return false;
    apic_timer_postpone();
    return true;
}

void vigil_prolong(Vigil *vigil) {
    vigil->ends_at_usec = now_usec() + VIGIL_USEC;
    if (watch)
        watch->ends_at_usec = vigil->ends_at_usec;
}

/* A change of the CPUs that changes nothing still takes its time. */
static void run_like_others(void) {
    (void)set_scheduler(SCHED_OTHER, 0);
    if (CPU_COUNT(&all_cpus) > 1)
        (void)sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

void vigil_leave(void) {
    if (watch && watch->on)
        run_like_others();
}

void vigil_end(Vigil *vigil) {
    if (!vigil->on)
        return;
    watch->on = false;
    apic_timer_fire();
    run_like_others();
    restore_throttle();
    vigil->on = false;
}
