/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define FRACTION_SCALE 1000000

/* Takes exactly `count` digits, whose number is at most max. */
static bool parse_digits(const char **at, unsigned count, int max, int *number) {
    *number = 0;
    for (unsigned i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *number = 10 * *number + (**at - '0');
    }
    return *number <= max;
}

static bool parse_char(const char **at, const char *of) {
    if (!**at || !strchr(of, **at))
        return false;
    (*at)++;
    return true;
}

/* What stands behind the point, in millionths; further digits are left out. */
static bool parse_fraction(const char **at, uint64_t *millionths) {
    const char *start = *at;
    uint64_t weight = FRACTION_SCALE / 10;
    *millionths = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++, weight /= 10)
        *millionths += weight * (uint64_t)(**at - '0');
    return *at > start;
}

static bool parse_date(const char **at, struct tm *tm) {
    struct tm day;
    bool ok = parse_digits(at, 4, 9999, &tm->tm_year) && parse_char(at, "-") &&
              parse_digits(at, 2, 12, &tm->tm_mon) && parse_char(at, "-") &&
              parse_digits(at, 2, 31, &tm->tm_mday);
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    if (!ok || tm->tm_mon < 0 || tm->tm_mday < 1)
        return false;
    day = *tm;
    (void)timegm(&day); /* makes March of the 30th of February */
    return day.tm_mday == tm->tm_mday;
}

static bool parse_time(const char **at, struct tm *tm, uint64_t *fraction_usec) {
    bool ok = parse_digits(at, 2, 23, &tm->tm_hour) && parse_char(at, ":") &&
              parse_digits(at, 2, 59, &tm->tm_min) && parse_char(at, ":") &&
              parse_digits(at, 2, 60, &tm->tm_sec); /* 60: a leap second */
    *fraction_usec = 0;
    return ok && (!parse_char(at, ".,") || parse_fraction(at, fraction_usec));
}

static bool parse_zone(const char **at, int *seconds) {
    int hours, minutes, sign = **at == '-' ? -1 : 1;
    *seconds = 0;
    if (parse_char(at, "Zz"))
        return true;
    if (!parse_char(at, "+-") || !parse_digits(at, 2, 23, &hours) || !parse_char(at, ":") ||
        !parse_digits(at, 2, 59, &minutes))
        return false;
    *seconds = sign * (3600 * hours + 60 * minutes);
    return true;
}

int clock_parse_realtime(const char *text, uint64_t *realtime_usec) {
    struct tm tm = {0};
    uint64_t fraction;
    int zone;
    time_t seconds;
    if (!parse_date(&text, &tm) || !parse_char(&text, "Tt ") ||
        !parse_time(&text, &tm, &fraction) || !parse_zone(&text, &zone) || *text)
        return -EINVAL;
    seconds = timegm(&tm) - zone;
    if (seconds < 0)
        return -EINVAL;
    *realtime_usec = (uint64_t)seconds * USEC_PER_SEC + fraction;
    return 0;
}

/* The unit that stands at *at, in nanoseconds. */
static bool parse_unit(const char **at, uint64_t *nsec) {
    static const struct {
        const char *name;
        uint64_t nsec;
    } units[] = {{"ns", 1},
                 {"us", 1000},
                 {"µs", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", 60 * UINT64_C(1000000000)},
                 {"h", 3600 * UINT64_C(1000000000)},
                 {"d", 24 * 3600 * UINT64_C(1000000000)}};

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        size_t length = strlen(units[i].name);
        if (strncmp(*at, units[i].name, length) != 0)
            continue;
        *at += length;
        *nsec = units[i].nsec;
        return true;
    }
    return false;
}

/* One number with its unit, such as 1.5h; -ERANGE when it does not fit. */
static int parse_part(const char **at, uint64_t *nsec) {
    uint64_t whole = 0, millionths = 0, unit;
    bool digits = false;
    for (; **at >= '0' && **at <= '9'; (*at)++, digits = true)
        if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(**at - '0'), &whole))
            return -ERANGE;
    if (parse_char(at, "."))
        digits = parse_fraction(at, &millionths) || digits;
    if (!digits || !parse_unit(at, &unit))
        return -EINVAL;
    return __builtin_mul_overflow(whole, unit, nsec) ||
                   __builtin_add_overflow(*nsec, millionths * unit / FRACTION_SCALE, nsec)
               ? -ERANGE
               : 0;
}

int parse_duration(const char *text, uint64_t *usec) {
    uint64_t sum = 0;
    if (!*text)
        return -EINVAL;
    while (*text) {
        uint64_t part;
        int r = parse_part(&text, &part);
        if (r < 0)
            return r;
        if (__builtin_add_overflow(sum, part, &sum))
            return -ERANGE;
    }
    *usec = sum / 1000;
    return 0;
}
