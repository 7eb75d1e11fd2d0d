/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TEND_IDLE_H
#define RAMET_TEND_IDLE_H

/* How long VMs have been idle, by counters that the kernel and the switches have anyway. */

#include "base/deadline.h"
#include "base/json.h"
#include "home/home.h"
#include "store/vms.h"

/* More of one processor than that, on average between two looks, is work; a guest that waits takes
 * less. */
#define IDLE_CPU_PERCENT 5

typedef struct IdleSample {
    uint64_t at_usec; /* CLOCK_BOOTTIME */
    uint64_t cpu_usec;
    uint64_t packets;
} IdleSample;

/* What is known of a VM. */
typedef struct IdleWatch {
    char id[VM_ID_SIZE];
    pid_t qemu;
    IdleSample last;
    uint64_t busy_usec; /* CLOCK_BOOTTIME: when it did something last */
    bool seen;          /* in this round */
    struct IdleWatch *next;
} IdleWatch;

/* All that are looked at, in rounds: empty at first, the caller's. */
typedef struct IdleWatches {
    IdleWatch *first; /* owned */
    json_t *networks; /* owned: the counters that this round has read, by the network's name */
} IdleWatches;

/* Takes a new sample in. */
void idle_note(IdleWatch *watch, const IdleSample *sample);

/* Between two looks at a VM that goes to standby after so long. */
uint64_t idle_period(uint64_t idle_usec);

/* From one time to the next look at such a VM. These are the same moments for all VMs with the same
 * period, whenever they started: a network's counters are read once for all of them. */
uint64_t idle_until_look(uint64_t at_usec, uint64_t idle_usec);

/* Has it been idle for long enough? Then it counts as busy, so that the next yes is as long away.
 * *left_usec: until it is to be looked at again. */
bool idle_look(IdleWatches *watches, Home *home, const VmRow *row, const Now *now,
               uint64_t *left_usec);

/* Ends a round: forgets those that were not looked at in it, and what it read. */
void idle_end_round(IdleWatches *watches);

#endif
