/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <limits.h>

#include "check.h"

static void poll_timeout_rounds_up(void) {
    CHECK_INT(clock_poll_timeout(UINT64_MAX), -1);
    CHECK_INT(clock_poll_timeout(0), 0);
    CHECK_INT(clock_poll_timeout(clock_monotonic_usec()), 0);
    CHECK_INT(clock_poll_timeout(UINT64_MAX - 1), INT_MAX);
    int left = clock_poll_timeout(clock_monotonic_usec() + 3600 * USEC_PER_SEC);
    CHECK(left > 3500 * 1000 && left <= 3600 * 1000);
}

static void realtime_is_rfc_3339(void) {
    _cleanup_free_ char *text = clock_format_realtime(1795195997123456);
    CHECK_STR(text, "2026-11-20T17:33:17.123Z");
    _cleanup_free_ char *epoch = clock_format_realtime(0);
    CHECK_STR(epoch, "1970-01-01T00:00:00.000Z");
}

static void stages_have_no_gaps(void) {
    Stages stages;
    stages_start(&stages, 1000);
    CHECK_INT(stages_total_usec(&stages), 0);
    stages_enter_at(&stages, "plan", 1500);
    stages_enter_at(&stages, "overlay", 1700);
    stages_enter_at(&stages, "boot", 1600); /* before the start of the one before */
    stages_end_at(&stages, 2000);
    stages_end_at(&stages, 3000); /* nothing is open */
    CHECK_INT(stages.count, 3);
    CHECK_STR(stages.items[0].name, "plan");
    CHECK_INT(stages.items[0].start_usec, 0);
    CHECK_INT(stages.items[0].duration_usec, 700);
    CHECK_INT(stages.items[1].start_usec, 700);
    CHECK_INT(stages.items[1].duration_usec, 0);
    CHECK_INT(stages.items[2].duration_usec, 300);
    CHECK_INT(stages_total_usec(&stages), 1000);
}

static void last_stage_goes_on_when_full(void) {
    Stages stages;
    stages_start(&stages, 0);
    for (uint64_t i = 0; i < STAGES_MAX + 5; i++)
        stages_enter_at(&stages, "a-name-that-is-longer-than-the-room", i);
    stages_end_at(&stages, 100);
    CHECK_INT(stages.count, STAGES_MAX);
    CHECK_INT(strlen(stages.items[0].name), STAGE_NAME_MAX - 1);
    CHECK_INT(stages.items[STAGES_MAX - 1].start_usec, STAGES_MAX - 1);
    stages_enter_at(&stages, "again", 150);
    stages_end_at(&stages, 200);
    CHECK_INT(stages_total_usec(&stages), 200);
}

static void total_of_an_open_stage_runs(void) {
    Stages stages;
    stages_start(&stages, clock_monotonic_usec() - 5000);
    stages_enter(&stages, "open");
    CHECK(stages_total_usec(&stages) >= 5000);
    stages_end(&stages);
    CHECK(stages_total_usec(&stages) >= 5000);
}

int main(void) {
    RUN(poll_timeout_rounds_up);
    RUN(realtime_is_rfc_3339);
    RUN(stages_have_no_gaps);
    RUN(last_stage_goes_on_when_full);
    RUN(total_of_an_open_stage_runs);
    return 0;
}
