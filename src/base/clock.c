/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

static uint64_t clock_read(clockid_t id) {
    struct timespec now;
    if (clock_gettime(id, &now) < 0)
        abort();
    return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_monotonic_usec(void) {
    return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_realtime_usec(void) {
    return clock_read(CLOCK_REALTIME);
}

uint64_t clock_boottime_usec(void) {
    return clock_read(CLOCK_BOOTTIME);
}

int clock_poll_timeout(uint64_t deadline_usec) {
    if (deadline_usec == UINT64_MAX)
        return -1;
    uint64_t now = clock_monotonic_usec();
    if (deadline_usec <= now)
        return 0;
    uint64_t left = deadline_usec - now;
    uint64_t msec = left / USEC_PER_MSEC + (left % USEC_PER_MSEC != 0);
    return (int)MIN_OF(msec, (uint64_t)INT_MAX);
}

char *clock_format_realtime(uint64_t realtime_usec) {
    time_t seconds = (time_t)(realtime_usec / USEC_PER_SEC);
    unsigned msec = (unsigned)(realtime_usec % USEC_PER_SEC / USEC_PER_MSEC);
    struct tm utc;
    char date[64];
    if (!gmtime_r(&seconds, &utc) || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return str_copy("1970-01-01T00:00:00.000Z");
    return str_format("%s.%03uZ", date, msec);
}

void stages_start(Stages *stages, uint64_t origin_monotonic_usec) {
    memset(stages, 0, sizeof(*stages));
    stages->origin_usec = stages->open_usec = origin_monotonic_usec;
}

void stages_enter(Stages *stages, const char *name) {
    stages_enter_at(stages, name, clock_monotonic_usec());
}

/* A stage begins where the one before it ended, so there are no gaps: open_usec is the start of the
 * open stage, and once that ended, its end. */
void stages_enter_at(Stages *stages, const char *name, uint64_t monotonic_usec) {
    if (stages->count == STAGES_MAX) {
        Stage *last = &stages->items[STAGES_MAX - 1];
        stages->open_usec = stages->origin_usec + last->start_usec;
        stages->open = 1;
        return;
    }
    stages_end_at(stages, monotonic_usec);
    Stage *stage = &stages->items[stages->count++];
    snprintf(stage->name, sizeof(stage->name), "%s", name);
    stage->start_usec = stages->open_usec - stages->origin_usec;
    stage->duration_usec = 0;
    stages->open = 1;
}

void stages_end(Stages *stages) {
    stages_end_at(stages, clock_monotonic_usec());
}

void stages_end_at(Stages *stages, uint64_t monotonic_usec) {
    if (!stages->open)
        return;
    uint64_t end = MAX_OF(monotonic_usec, stages->open_usec);
    stages->items[stages->count - 1].duration_usec = end - stages->open_usec;
    stages->open_usec = end;
    stages->open = 0;
}
