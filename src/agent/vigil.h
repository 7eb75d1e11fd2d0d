/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_VIGIL_H
#define RAMET_AGENT_VIGIL_H

#include "agent/util.h"

/* From the freeze of a snapshot until its thaw, in the source and in every clone that wakes from
 * it, only the agent runs: it has the highest priority and does not sleep, and a sentry holds each
 * other CPU. So no user code goes on in a clone before it is itself, and the agent finds its new
 * identity at once, without being woken first. Best effort where the guest forbids real-time
 * priorities. */
typedef struct Vigil {
    bool on;
    uint64_t ends_at_usec; /* (now_usec) bounded, should nobody ever thaw */
} Vigil;

/* How long a vigil lasts at most, from its beginning or from the last greeting. */
#define VIGIL_USEC 5000000u

/* Does nothing when it is on already. */
void vigil_begin(Vigil *vigil);

/* To be called again and again, some times in 100 ms: puts the next tick of the kernel off. False
 * when the vigil is over, or its time is. */
bool vigil_keep(Vigil *vigil);

/* Begins its time anew. */
void vigil_prolong(Vigil *vigil);

/* Lets everybody run again. Does nothing when it is not on. */
void vigil_end(Vigil *vigil);

/* In a child that the agent starts meanwhile: it gets the priority and the CPUs that others have.
 * System calls only, for the time after vfork. */
void vigil_leave(void);

#endif
