/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_MEETING_H
#define RAMET_MACHINE_SNAPSHOT_MEETING_H

/* Where VMs that are saved together wait for each other. Each of them is the work of one thread,
 * which arrives at one point after the other; another thread leads: it waits at each point until
 * all are there, does what is to be done then, and opens the way on. Whoever fails breaks the
 * meeting, and then nobody waits any more. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In this order. The first three have names, which keepers say (proto/keeper.h). */
typedef enum MeetingPoint {
    MEET_COPIED,  /* most of the memory is copied, and the guest still runs */
    MEET_FROZEN,  /* only its agent runs */
    MEET_PAUSED,  /* it stands still */
    MEET_RESUMED, /* it runs again */
    MEETING_POINTS,
} MeetingPoint;

typedef struct Meeting {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    size_t expected;
    size_t arrived[MEETING_POINTS];
    uint64_t first_usec[MEETING_POINTS], last_usec[MEETING_POINTS]; /* monotonic: who arrived */
    unsigned open;                                                  /* so many points may be left */
    bool broken;
} Meeting;

/* So many threads are to arrive, beside the one that leads. */
void meeting_init(Meeting *meeting, size_t expected);
void meeting_destroy(Meeting *meeting);

/* "paused" → MEET_PAUSED; -EINVAL for what is no point with a name. name may be NULL. */
int meeting_point_from_name(const char *name, MeetingPoint *point);

/* Arrives, at that monotonic time, and waits until the way on is open. -ECANCELED: it is broken. */
int meeting_arrive(Meeting *meeting, MeetingPoint point, uint64_t at_usec);

/* Arrives without waiting. */
void meeting_pass(Meeting *meeting, MeetingPoint point, uint64_t at_usec);

/* Nobody waits any more, at no point. */
void meeting_break(Meeting *meeting);

/* For the one that leads: waits until all have arrived. -ECANCELED: it is broken; -ETIMEDOUT (a
 * monotonic time), and then it is broken, too. */
int meeting_gather(Meeting *meeting, MeetingPoint point, uint64_t deadline_usec);
void meeting_open(Meeting *meeting, MeetingPoint point);

/* From the first arrival to the last. */
uint64_t meeting_spread_usec(Meeting *meeting, MeetingPoint point);

#endif
