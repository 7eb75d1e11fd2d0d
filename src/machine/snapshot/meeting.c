/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/snapshot/meeting.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"

static const char *const names[] = {
    [MEET_COPIED] = "copied",
    [MEET_FROZEN] = "frozen",
    [MEET_PAUSED] = "paused",
};

void meeting_init(Meeting *meeting, size_t expected) {
    pthread_condattr_t monotonic;
    *meeting = (Meeting){.expected = expected};
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&meeting->mutex, NULL);
    (void)pthread_cond_init(&meeting->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

void meeting_destroy(Meeting *meeting) {
    (void)pthread_cond_destroy(&meeting->changed);
    (void)pthread_mutex_destroy(&meeting->mutex);
}

int meeting_point_from_name(const char *name, MeetingPoint *point) {
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_equal(names[i], name)) {
            *point = (MeetingPoint)i;
            return 0;
        }
    return -EINVAL;
}

static void arrive(Meeting *meeting, MeetingPoint point, uint64_t at_usec) {
    if (meeting->arrived[point]++ == 0)
        meeting->first_usec[point] = meeting->last_usec[point] = at_usec;
    meeting->first_usec[point] = MIN_OF(meeting->first_usec[point], at_usec);
    meeting->last_usec[point] = MAX_OF(meeting->last_usec[point], at_usec);
    (void)pthread_cond_broadcast(&meeting->changed);
}

int meeting_arrive(Meeting *meeting, MeetingPoint point, uint64_t at_usec) {
    int r;
    (void)pthread_mutex_lock(&meeting->mutex);
    arrive(meeting, point, at_usec);
    while (!meeting->broken && meeting->open <= (unsigned)point)
        (void)pthread_cond_wait(&meeting->changed, &meeting->mutex);
    r = meeting->broken ? -ECANCELED : 0;
    (void)pthread_mutex_unlock(&meeting->mutex);
    return r;
}

void meeting_pass(Meeting *meeting, MeetingPoint point, uint64_t at_usec) {
    (void)pthread_mutex_lock(&meeting->mutex);
    arrive(meeting, point, at_usec);
    (void)pthread_mutex_unlock(&meeting->mutex);
}

void meeting_break(Meeting *meeting) {
    (void)pthread_mutex_lock(&meeting->mutex);
    meeting->broken = true;
    (void)pthread_cond_broadcast(&meeting->changed);
    (void)pthread_mutex_unlock(&meeting->mutex);
}

int meeting_gather(Meeting *meeting, MeetingPoint point, uint64_t deadline_usec) {
    struct timespec until = {.tv_sec = (time_t)(deadline_usec / USEC_PER_SEC),
                             .tv_nsec = (long)(deadline_usec % USEC_PER_SEC * 1000)};
    int r = 0;
    (void)pthread_mutex_lock(&meeting->mutex);
    while (r == 0 && !meeting->broken && meeting->arrived[point] < meeting->expected)
        r = -pthread_cond_timedwait(&meeting->changed, &meeting->mutex, &until);
    if (r == 0 && meeting->broken)
        r = -ECANCELED;
    (void)pthread_mutex_unlock(&meeting->mutex);
    if (r == -ETIMEDOUT)
        meeting_break(meeting);
    return r;
}

void meeting_open(Meeting *meeting, MeetingPoint point) {
    (void)pthread_mutex_lock(&meeting->mutex);
    meeting->open = (unsigned)point + 1;
    (void)pthread_cond_broadcast(&meeting->changed);
    (void)pthread_mutex_unlock(&meeting->mutex);
}

uint64_t meeting_spread_usec(Meeting *meeting, MeetingPoint point) {
    uint64_t spread;
    (void)pthread_mutex_lock(&meeting->mutex);
    spread = meeting->last_usec[point] - meeting->first_usec[point];
    (void)pthread_mutex_unlock(&meeting->mutex);
    return spread;
}
