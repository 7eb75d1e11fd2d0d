/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_PULSE_H
#define RAMET_KEEPER_GUEST_PULSE_H

/* Does the guest still answer? */

#include "base/loop.h"
#include "keeper/guest/link.h"

typedef struct PulseHandlers {
    bool (*is_running)(void *data);           /* its time counts */
    void (*changed)(void *data, bool silent); /* it answers no more, or again */
} PulseHandlers;

/* All times are of clock_monotonic_usec. */
typedef struct Pulse {
    Loop *loop;                    /* borrowed */
    Link *link;                    /* borrowed */
    const PulseHandlers *handlers; /* borrowed */
    void *data;                    /* borrowed; for the handlers */
    pid_t qemu_pid;
    unsigned cpus;
    LoopSource *timer;            /* of the next check; NULL: it was never ready */
    LinkStream *ping;             /* borrowed from the link; while it is not answered */
    uint64_t heard_usec;          /* when something came from the agent */
    uint64_t owed_since_usec;     /* when it was first seen to owe an answer; 0: it owes none */
    uint64_t owed_since_cpu_usec; /* what its QEMU had used of the CPU then */
    uint64_t cpu_usec;            /* … and at the last check */
    bool asked;                   /* somebody waits for it since the last sign of life */
    bool silent;                  /* it does not answer */
} Pulse;

void pulse_init(Pulse *pulse, Loop *loop, Link *link, const PulseHandlers *handlers, void *data);

/* The guest is ready, and runs in that QEMU. A second call changes nothing. */
void pulse_start(Pulse *pulse, pid_t qemu_pid, unsigned cpus);
void pulse_stop(Pulse *pulse);

/* Bytes came from the agent; somebody waits for it. */
void pulse_heard(Pulse *pulse);
void pulse_asked(Pulse *pulse);

/* 0; or -ETIMEDOUT, and what to do, when the guest counts as silent. */
int pulse_require(const Pulse *pulse, Error *error);

#endif
