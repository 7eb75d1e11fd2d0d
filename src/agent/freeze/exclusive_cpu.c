/* SPDX-License-Identifier: Apache-2.0 */
/* All that the agent needs is in memory before the snapshot, and writable without a page fault
 * (mlockall breaks what a fork left shared): to an emulated CPU whose translations are all new, a
 * fault costs more than the work itself. It stays there, since it is small and unlocking is work.
 *
 * Stoppers (as the kernel calls those of its own stop_machine) are children that spin on a flag in
 * memory that they share with the agent. They end with it, and end by themselves when their time is
 * over or their round is: one that the host kept from its CPU may see that late. It has begun when
 * all of them run: each counts itself once it has its CPU. The agent and they have the highest
 * priority there is (but for SCHED_DEADLINE), so nobody who sleeps wakes over them. Where somebody
 * else gets a CPU all the same, by a server of the kernel's or since the agent had to wait,
 * preemption.h tells.
 *
 * The kernel lets others run for a twentieth of each second, whatever the priority
 * (rt_limit.h). A clone on a busy host may need seconds to become itself, so this is lifted
 * meanwhile; but not before all stoppers run, since the agent could wait for ever for a
 * CPU that a program of the highest priority has. A stopper that the limit hits before that does
 * no harm. */

#include "agent/freeze/exclusive_cpu.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/emulated/apic_timer.h"
#include "agent/freeze/preemption.h"
#include "agent/freeze/rt_limit.h"

#define PRIORITY 99 /* the kernel's highest of SCHED_FIFO */
#define ONLINE "/sys/devices/system/cpu/online"
#define START_USEC 1000000u
#define START_TURNS 1000 /* times at least: on a busy host time alone says nothing */

#define SETTLE_USEC 100000u
#define SETTLE_TURNS 2 /* who sleeps in the first has what it waited for in the second */

/* Shared with the stoppers. */
typedef struct Shared {
    unsigned round; /* 0: it is over */
    uint64_t ends_at_usec;
    unsigned running; /* so many have their CPU */
    bool counts;      /* the limit of real-time programs is lifted: who loses it now, tells */
    unsigned ready;   /* so many count */
    int refused;      /* errno of one that cannot have it */
    bool left;        /* one went before it was told to */
} Shared;

static volatile Shared *shared; /* NULL: not made yet */
static cpu_set_t all_cpus;      /* where the agent may run otherwise */

/* musl's own refuses: it holds that Linux does not do what POSIX says of whole processes. */
static int set_scheduler(int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    return (int)syscall(SYS_sched_setscheduler, 0, policy, &parameters);
}

static int stay_on(int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    return sched_setaffinity(0, sizeof(one), &one);
}

/* The priority first, so that nobody on that CPU is waited for. */
static bool claim_cpu(int cpu, int priority) {
    return set_scheduler(SCHED_FIFO, priority) == 0 && stay_on(cpu) == 0;
}

static bool is_over(unsigned round) {
    return shared->round != round || now_usec() >= shared->ends_at_usec;
}

static void run_stopper(int cpu, pid_t agent, unsigned round) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != agent)
        return;
    if (!claim_cpu(cpu, PRIORITY)) {
        shared->refused = errno;
        return;
    }
    (void)preemption_open();
    (void)__atomic_add_fetch(&shared->running, 1, __ATOMIC_SEQ_CST);
    while (!shared->counts && !is_over(round))
        __builtin_ia32_pause();
    preemption_arm();
    (void)__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
    while (!is_over(round)) {
        __builtin_ia32_pause();
        shared->left |= preemption_happened();
    }
    shared->left |= shared->round == round;
}

/* "0-3,5" (Linux, Documentation/admin-guide/cputopology.rst): all of them, wherever the agent
 * itself may run. */
static void read_online(cpu_set_t *cpus) {
    char text[256], *at = text;
    CPU_ZERO(cpus);
    if (read_text(ONLINE, text, sizeof(text)) <= 0)
        *cpus = all_cpus;
    while (*at >= '0' && *at <= '9') {
        unsigned long first = strtoul(at, &at, 10), last = first;
        if (*at == '-')
            last = strtoul(at + 1, &at, 10);
        for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
            CPU_SET(cpu, cpus);
        at += *at == ',';
    }
}

/* Returns how many were sent. */
static unsigned fork_stoppers(int own_cpu) {
    pid_t agent = getpid();
    unsigned sent = 0;
    cpu_set_t online;
    read_online(&online);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (cpu == own_cpu || !CPU_ISSET((size_t)cpu, &online))
            continue;
        pid_t pid = fork();
        if (pid == 0) {
            run_stopper(cpu, agent, shared->round);
            _exit(0);
        }
        if (pid < 0)
            shared->refused = errno;
        sent++;
    }
    return sent;
}

/* False when one was refused, or they do not get there. It polls since the turns are the bound:
 * each is a timer that the guest's CPU got to serve, while of the time that passes on a busy host
 * the guest may have had nothing. A futex would need that count all the same, and a call from CPUs
 * that are to do nothing any more. */
static bool wait_for_stoppers(const volatile unsigned *count, unsigned sent) {
    uint64_t deadline = now_usec() + START_USEC;
    for (unsigned turns = 0; *count < sent && !shared->refused; turns++) {
        if (is_over(shared->round) || (turns >= START_TURNS && now_usec() >= deadline))
            return false;
        (void)usleep(100);
    }
    return !shared->refused;
}

/* They need the CPU to get to theirs, so the agent sleeps while it waits, and must not wake where
 * one of them runs already. Returns how many there are. */
static unsigned start_stoppers(int own_cpu, Result *result) {
    (void)stay_on(own_cpu);
    unsigned sent = fork_stoppers(own_cpu);
    bool running = wait_for_stoppers(&shared->running, sent);
    if (shared->refused)
        result_fail(result, shared->refused, "cannot take all CPUs");
    else if (!running)
        result_say(
            result, EBUSY,
            "a program of the highest real-time priority keeps a CPU, or the host is too busy");
    return sent;
}

static bool map_shared(void) {
    void *page = shared ? (void *)shared
                        : mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = page == MAP_FAILED ? NULL : page;
    return shared != NULL;
}

static void claim_all_cpus(int cpu, Result *result) {
    unsigned sent = start_stoppers(cpu, result);
    int r = result->error == 0 /* else who keeps a CPU would have all of it */
                ? rt_limit_lift(shared->ends_at_usec)
                : 0;
    if (r < 0)
        result_fail(result, -r, "cannot lift the limit of real-time programs");
    shared->counts = true;
    if (result->error == 0 && !wait_for_stoppers(&shared->ready, sent))
        result_say(result, EBUSY, "the host is too busy");
    (void)mlockall(MCL_CURRENT);
    if (!claim_cpu(cpu, PRIORITY))
        result_fail(result, errno, "the agent gets no real-time priority");
}

void exclusive_cpu_begin(ExclusiveCpu *exclusive, Result *result) {
    static unsigned rounds;
    int cpu = sched_getcpu();
    exclusive->ends_at_usec = now_usec() + EXCLUSIVE_CPU_USEC;
    if (exclusive->on) {
        exclusive_cpu_extend(exclusive);
        return;
    }
    if (cpu < 0 || sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0 || !map_shared()) {
        result_fail(result, errno, "cannot prepare for a snapshot");
        return;
    }
    int r = rt_limit_prepare();
    if (r < 0)
        result_fail(result, -r, "cannot prepare to lift the limit of real-time programs");
    if (!preemption_open())
        result_say(result, ENOSYS, "the guest's kernel cannot tell who ran (CONFIG_RSEQ)");
    *shared = (Shared){.round = ++rounds, .ends_at_usec = exclusive->ends_at_usec};
    claim_all_cpus(cpu, result);
    exclusive->on = true;
    exclusive->complete = result->error == 0;
    exclusive_cpu_extend(exclusive); /* starting took some of it */
    preemption_arm();
}

bool exclusive_cpu_settle(ExclusiveCpu *exclusive, void (*take_locks)(void)) {
    for (unsigned turn = 0; exclusive->complete && turn < SETTLE_TURNS && !shared->left; turn++) {
        shared->ends_at_usec = now_usec() + SETTLE_USEC;
        preemption_arm();
        take_locks();
        if (!preemption_happened())
            break;
    }
    exclusive_cpu_extend(exclusive);
    return exclusive_cpu_holds(exclusive);
}

bool exclusive_cpu_holds(const ExclusiveCpu *exclusive) {
    return exclusive->on && exclusive->complete && !shared->left && !preemption_happened();
}

void exclusive_cpu_report(const ExclusiveCpu *exclusive, Result *result) {
    const char *why = !exclusive->on         ? "its time is over"
                      : !exclusive->complete ? "not all CPUs were taken"
                      : shared->left         ? "somebody else got another CPU"
                                             : "the agent lost its CPU";
    result->exclusive = exclusive_cpu_holds(exclusive);
    if (!result->exclusive && result->text[0] == '\0')
        copy_text(result->text, sizeof(result->text), why);
}

bool exclusive_cpu_keep(ExclusiveCpu *exclusive) {
    if (!exclusive->on || exclusive->ends_at_usec <= now_usec())
        return false;
    apic_timer_postpone();
    return true;
}

void exclusive_cpu_extend(ExclusiveCpu *exclusive) {
    exclusive->ends_at_usec = now_usec() + EXCLUSIVE_CPU_USEC;
    if (shared)
        shared->ends_at_usec = exclusive->ends_at_usec;
    rt_limit_extend(exclusive->ends_at_usec);
}

/* A change of the CPUs that changes nothing still takes its time. */
static void run_like_others(void) {
    (void)set_scheduler(SCHED_OTHER, 0);
    if (CPU_COUNT(&all_cpus) > 1)
        (void)sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

void exclusive_cpu_leave(void) {
    if (shared && shared->round != 0)
        run_like_others();
}

void exclusive_cpu_free_others(ExclusiveCpu *exclusive) {
    if (exclusive->on)
        shared->round = 0;
}

void exclusive_cpu_end(ExclusiveCpu *exclusive) {
    if (!exclusive->on)
        return;
    exclusive_cpu_free_others(exclusive);
    apic_timer_fire();
    run_like_others();
    rt_limit_restore();
    exclusive->on = false;
}
