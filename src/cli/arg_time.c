/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/arg_time.h"

#include <errno.h>

#include "base/clock.h"
#include "base/str.h"

/* What is older than 1970 means everything. */
int time_parse(const char *text, uint64_t *realtime_usec, Error *error) {
    uint64_t age, time = 0, now = clock_realtime_usec();
    int r = parse_duration(text, &age);
    if (r == 0 && age < now)
        time = now - age;
    if (r == -EINVAL)
        r = clock_parse_realtime(text, &time);
    if (r == -EINVAL)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "\"%s\" is no time (an age such as 10m or 1h30m, or RFC 3339 such as "
                         "2026-11-20T17:33:17Z)",
                         text);
    if (realtime_usec)
        *realtime_usec = time;
    return 0;
}

int duration_parse(const char *text, uint64_t *usec, Error *error) {
    bool zero = str_equal(text, "0");
    uint64_t parsed = 0;
    if (!zero && parse_duration(text, &parsed) < 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "\"%s\" is no duration, such as 90s, 10m, 1h30m or 7d", text);
    if (usec)
        *usec = parsed;
    return 0;
}
