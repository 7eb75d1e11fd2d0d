/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_EXCLUSIVE_CPU_H
#define RAMET_AGENT_FREEZE_EXCLUSIVE_CPU_H

#include "agent/base/util.h"

/* From the freeze of a snapshot until its thaw, in the source and in every clone that is made
 * of it, only the agent runs: it has the highest priority and does not sleep, and a stopper holds
 * each other CPU. So no user code goes on in a clone before it is itself, and the agent finds its
 * new identity at once, without being woken first.
 *
 * A clone counts on it, so it is known whether it holds: it does not where the guest forbids
 * real-time priorities, once its time is over, or when the agent had to sleep. */
typedef struct ExclusiveCpu {
    bool on;
    bool complete;         /* every CPU was taken */
    uint64_t ends_at_usec; /* (now_usec) bounded, should nobody ever thaw */
} ExclusiveCpu;

/* How long it lasts at most, from its beginning or from the last greeting: more than a
 * clone on a very busy host needs, and less than the kernel takes for a stall. */
#define EXCLUSIVE_CPU_USEC 20000000u

/* Nothing new begins when it is on already. The result has why it is not complete: EPERM, EBUSY (a
 * program of the guest's with the highest priority does not make room) or another reason. */
void exclusive_cpu_begin(ExclusiveCpu *exclusive, Result *result);

/* Somebody who was stopped in the middle of something may have a lock of the kernel's that a clone
 * will need: the agent would sleep for it, and others would run. take_locks takes and gives back
 * each of these locks. Where it had to sleep for longer than a moment, the stoppers have left.
 * Returns whether it holds: then nobody has such a lock, nor will. */
bool exclusive_cpu_settle(ExclusiveCpu *exclusive, void (*take_locks)(void));

/* True while nobody else has run on any CPU since it began, not even while the agent slept. */
bool exclusive_cpu_holds(const ExclusiveCpu *exclusive);

/* Sets `exclusive`, or the text that says why not. */
void exclusive_cpu_report(const ExclusiveCpu *exclusive, Result *result);

/* To be called again and again, some times in 100 ms: puts the next tick of the kernel off. False
 * when it is over, or its time is. */
bool exclusive_cpu_keep(ExclusiveCpu *exclusive);

/* Begins its time anew. */
void exclusive_cpu_extend(ExclusiveCpu *exclusive);

/* Lets others run on the other CPUs; nothing of it holds from here on. */
void exclusive_cpu_free_others(ExclusiveCpu *exclusive);

/* Lets everybody run again. Does nothing when it is not on. */
void exclusive_cpu_end(ExclusiveCpu *exclusive);

/* In a child that the agent starts meanwhile: it gets the priority and the CPUs that others have.
 * System calls only, for the time after vfork. */
void exclusive_cpu_leave(void);

#endif
