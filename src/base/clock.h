/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_CLOCK_H
#define RAMET_BASE_CLOCK_H

/* Clocks in microseconds, deadlines, and the stage timer. */

#include "base/util.h"

/* CLOCK_MONOTONIC, CLOCK_REALTIME and CLOCK_BOOTTIME. */
uint64_t clock_monotonic_usec(void);
uint64_t clock_realtime_usec(void);
uint64_t clock_boottime_usec(void);

#define USEC_PER_MSEC ((uint64_t)1000)
#define USEC_PER_SEC ((uint64_t)1000000)

/* Milliseconds left until a monotonic deadline, for poll(2): 0 when it passed; -1 for UINT64_MAX
 * ("no deadline"). Rounds up. */
int clock_poll_timeout(uint64_t deadline_usec);

/* "2026-11-20T17:33:17.123Z" (RFC 3339, UTC). Caller owns. */
char *clock_format_realtime(uint64_t realtime_usec);

/* A whole text of RFC 3339 (2026-11-20T17:33:17Z, 2026-11-20 18:33:17.123+01:00), since 1970.
 * -EINVAL for anything else. */
int clock_parse_realtime(const char *text, uint64_t *realtime_usec);

/* A whole text such as 90s, 1h30m, 1.5h or 250ms (units d, h, m, s, ms, us, ns). -EINVAL for
 * anything else, -ERANGE when it does not fit. */
int parse_duration(const char *text, uint64_t *usec);

/* Stage timing. The stages of one operation follow each other without gaps: beginning one ends the
 * one before it. Times are monotonic, so parts measured by another process (the keeper) fit in.
 *
 *     Stages stages;
 *     stages_start(&stages, request_arrived_usec);
 *     stages_enter(&stages, "plan");        // from the request's arrival until the next enter
 *     stages_enter(&stages, "overlay");
 *     stages_end(&stages);                  // ready
 */
#define STAGES_MAX 32
#define STAGE_NAME_MAX 24

typedef struct Stage {
    char name[STAGE_NAME_MAX];
    uint64_t start_usec; /* from the start of the operation */
    uint64_t duration_usec;
} Stage;

typedef struct Stages {
    uint64_t origin_usec; /* monotonic */
    uint64_t open_usec;   /* monotonic start of the open stage */
    size_t count;         /* finished ones, and the open one while `open` */
    int open;
    Stage items[STAGES_MAX];
} Stages;

/* No stage is open yet; their times count from the origin. */
void stages_start(Stages *stages, uint64_t origin_monotonic_usec);

/* Ends the open stage and begins `name`. The first one begins at the origin. When all STAGES_MAX
 * are used the last one just goes on. */
void stages_enter(Stages *stages, const char *name);

/* The same with a time taken elsewhere (for instance by the keeper); earlier than the open stage's
 * start counts as its start. */
void stages_enter_at(Stages *stages, const char *name, uint64_t monotonic_usec);

/* Ends the open stage now. */
void stages_end(Stages *stages);
void stages_end_at(Stages *stages, uint64_t monotonic_usec);

#endif
