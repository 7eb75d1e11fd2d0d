/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
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
    const Stage *last = &stages.items[STAGES_MAX - 1];
    CHECK_INT(last->start_usec + last->duration_usec, 200);
}

static void first_stage_begins_at_the_origin(void) {
    Stages stages;
    stages_start(&stages, clock_monotonic_usec() - 5000);
    stages_enter(&stages, "first");
    stages_end(&stages);
    CHECK(stages.items[0].duration_usec >= 5000);
}

static void expect_realtime(const char *text, const char *expected) {
    uint64_t usec;
    CHECK_INT(clock_parse_realtime(text, &usec), 0);
    _cleanup_free_ char *back = clock_format_realtime(usec);
    CHECK_STR(back, expected);
}

static void realtime_is_parsed(void) {
    static const char *const bad[] = {"",
                                      "now",
                                      "1700000000",
                                      "2026-11-20",
                                      "2026-11-20T17:33:17",
                                      "2026-11-20T17:33:17Z ",
                                      "2026-11-20T17:33:17.Z",
                                      "2026-11-20T24:00:00Z",
                                      "2026-02-30T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-11-20T17:33:17+1:00",
                                      "2026-11-20T17:33:17+01:60",
                                      "1969-12-31T23:59:59Z",
                                      "-026-11-20T17:33:17Z"};
    uint64_t usec;
    expect_realtime("2026-11-20T17:33:17Z", "2026-11-20T17:33:17.000Z");
    expect_realtime("2026-11-20t17:33:17.123z", "2026-11-20T17:33:17.123Z");
    expect_realtime("2026-11-20 17:33:17,123456789+00:00", "2026-11-20T17:33:17.123Z");
    expect_realtime("2026-11-20T01:33:17.5+02:30", "2026-11-19T23:03:17.500Z");
    expect_realtime("2028-02-29T23:59:59-00:30", "2028-03-01T00:29:59.000Z");
    CHECK_INT(clock_parse_realtime("1970-01-01T00:00:01.000001Z", &usec), 0);
    CHECK_INT(usec, 1000001);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(clock_parse_realtime(bad[i], &usec), -EINVAL);
}

static void expect_duration(const char *text, uint64_t expected) {
    uint64_t usec;
    CHECK_INT(parse_duration(text, &usec), 0);
    CHECK_INT(usec, expected);
}

static void durations_are_parsed(void) {
    static const char *const bad[] = {"",    "10", "m",    ".m",   "-1m", "1 m",
                                      "1m ", "1w", "1h30", "1.s.", "1e3s"};
    uint64_t usec;
    expect_duration("10m", 600 * USEC_PER_SEC);
    expect_duration("1h30m", 5400 * USEC_PER_SEC);
    expect_duration("1.5h", 5400 * USEC_PER_SEC);
    expect_duration(".25s", 250000);
    expect_duration("1.s", USEC_PER_SEC);
    expect_duration("2s250ms", 2250000);
    expect_duration("3us", 3);
    expect_duration("1500ns", 1);
    expect_duration("0s", 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(parse_duration(bad[i], &usec), -EINVAL);
    CHECK_INT(parse_duration("99999999999999999999s", &usec), -ERANGE);
    CHECK_INT(parse_duration("9999999999h", &usec), -ERANGE);
    CHECK_INT(parse_duration("5000000h5000000h", &usec), -ERANGE);
}

int main(void) {
    RUN(realtime_is_parsed);
    RUN(durations_are_parsed);
    RUN(poll_timeout_rounds_up);
    RUN(realtime_is_rfc_3339);
    RUN(stages_have_no_gaps);
    RUN(last_stage_goes_on_when_full);
    RUN(first_stage_begins_at_the_origin);
    return 0;
}
