/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/snapshot/meeting.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

#include "check.h"

#define FAR (clock_monotonic_usec() + 60 * USEC_PER_SEC)
#define THREADS 8

static Meeting meeting;
static size_t beyond[MEETING_POINTS]; /* who left each point; with the meeting's mutex */
static bool breaks;                   /* the first one breaks it at MEET_FROZEN */

static size_t count_beyond(MeetingPoint point, size_t more) {
    size_t count;
    (void)pthread_mutex_lock(&meeting.mutex);
    count = beyond[point] += more;
    (void)pthread_mutex_unlock(&meeting.mutex);
    return count;
}

static void *take_part(void *data) {
    size_t number = (size_t)(uintptr_t)data;
    for (MeetingPoint point = MEET_COPIED; point < MEET_RESUMED; point++) {
        if (breaks && number == 0 && point == MEET_FROZEN) {
            meeting_break(&meeting);
            return NULL;
        }
        if (meeting_arrive(&meeting, point, 100 * number) < 0)
            return NULL;
        (void)count_beyond(point, 1);
    }
    meeting_pass(&meeting, MEET_RESUMED, 0);
    return NULL;
}

static void begin(pthread_t *threads) {
    memset(beyond, 0, sizeof(beyond));
    meeting_init(&meeting, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, take_part, (void *)(uintptr_t)i), 0);
}

static void end(pthread_t *threads) {
    for (size_t i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    meeting_destroy(&meeting);
}

/* Nobody leaves a point before all are there and it is opened. */
static void test_all_meet(void) {
    pthread_t threads[THREADS];
    breaks = false;
    begin(threads);
    for (MeetingPoint point = MEET_COPIED; point < MEET_RESUMED; point++) {
        CHECK_INT(meeting_gather(&meeting, point, FAR), 0);
        CHECK_INT(count_beyond(point, 0), 0);
        meeting_open(&meeting, point);
    }
    CHECK_INT(meeting_gather(&meeting, MEET_RESUMED, FAR), 0);
    CHECK_INT(count_beyond(MEET_PAUSED, 0), THREADS);
    CHECK_INT(meeting_spread_usec(&meeting, MEET_PAUSED), 100 * (THREADS - 1));
    end(threads);
}

static void test_one_breaks_it(void) {
    pthread_t threads[THREADS];
    breaks = true;
    begin(threads);
    CHECK_INT(meeting_gather(&meeting, MEET_COPIED, FAR), 0);
    meeting_open(&meeting, MEET_COPIED);
    CHECK_INT(meeting_gather(&meeting, MEET_FROZEN, FAR), -ECANCELED);
    end(threads);
    CHECK_INT(beyond[MEET_FROZEN], 0);
}

/* Who leads waits for so long, and then nobody waits any more. */
static void test_one_stays_away(void) {
    pthread_t threads[THREADS];
    breaks = false;
    begin(threads);
    CHECK_INT(meeting_gather(&meeting, MEET_COPIED, FAR), 0);
    CHECK_INT(meeting_gather(&meeting, MEET_FROZEN, clock_monotonic_usec() + 1000), -ETIMEDOUT);
    end(threads);
    CHECK_INT(beyond[MEET_COPIED], 0);
}

static void test_names(void) {
    MeetingPoint point;
    CHECK_INT(meeting_point_from_name("paused", &point), 0);
    CHECK_INT(point, MEET_PAUSED);
    CHECK_INT(meeting_point_from_name("resumed", &point), -EINVAL);
    CHECK_INT(meeting_point_from_name(NULL, &point), -EINVAL);
}

int main(void) {
    RUN(test_all_meet);
    RUN(test_one_breaks_it);
    RUN(test_one_stays_away);
    RUN(test_names);
    return 0;
}
