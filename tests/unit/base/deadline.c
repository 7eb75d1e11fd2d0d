/* SPDX-License-Identifier: Apache-2.0 */
#include "base/deadline.h"

#include "check.h"

#define HOUR UINT64_C(3600000000)

static const Now start = {.wall_usec = 1000 * HOUR, .boot_usec = HOUR, .boot_id = "a"};

static Now later(uint64_t usec, int64_t step_usec) {
    Now now = start;
    now.boot_usec += usec;
    now.wall_usec += usec + (uint64_t)step_usec;
    return now;
}

static void none_is_never(void) {
    Deadline none = {0};
    Now now = now_read();
    CHECK(!deadline_is_set(&none) && !deadline_rebase(&none, &now));
    CHECK(deadline_left(&none, &now) == UINT64_MAX);
    CHECK_INT(deadline_wall(&none, &now), 0);
}

static void it_passes(void) {
    Deadline deadline = deadline_in(&start, 2 * HOUR);
    Now now = later(HOUR, 0);
    CHECK_INT(deadline_left(&deadline, &start), 2 * HOUR);
    CHECK_INT(deadline_left(&deadline, &now), HOUR);
    CHECK_INT(deadline_wall(&deadline, &now), 1002 * HOUR);
    now = later(2 * HOUR, 0);
    CHECK_INT(deadline_left(&deadline, &now), 0);
    now = later(5 * HOUR, 0);
    CHECK_INT(deadline_left(&deadline, &now), 0);
    CHECK_INT(deadline_wall(&deadline, &now), 1002 * HOUR);
}

/* Forth and back, by more than is left, and by more than the host is up. */
static void set_clocks_do_not_move_it(void) {
    static const int64_t steps[] = {(int64_t)(100 * HOUR), -(int64_t)(100 * HOUR)};
    Deadline deadline = deadline_in(&start, 2 * HOUR);
    for (size_t i = 0; i < 2; i++) {
        Now now = later(HOUR, steps[i]);
        CHECK_INT(deadline_left(&deadline, &now), HOUR);
        CHECK_INT(deadline_wall(&deadline, &now), now.wall_usec + HOUR);
        CHECK(!deadline_rebase(&deadline, &now));
    }
}

static void it_outlives_a_boot(void) {
    Deadline deadline = deadline_in(&start, 2 * HOUR);
    Now now = {.wall_usec = 1001 * HOUR, .boot_usec = 7, .boot_id = "b"};
    CHECK_INT(deadline_left(&deadline, &now), HOUR);
    CHECK_INT(deadline_wall(&deadline, &now), 1002 * HOUR);
    CHECK(deadline_rebase(&deadline, &now));
    CHECK_INT(deadline.boot_usec, HOUR + 7);
    now.wall_usec += 50 * HOUR; /* set */
    CHECK_INT(deadline_left(&deadline, &now), HOUR);
    CHECK(!deadline_rebase(&deadline, &now));
}

static void unknown_boot_is_the_wall_clock(void) {
    Now now = start;
    now.boot_id[0] = '\0';
    Deadline deadline = deadline_in(&now, HOUR);
    now.wall_usec += HOUR / 2;
    CHECK_INT(deadline_left(&deadline, &now), HOUR / 2);
    CHECK(!deadline_rebase(&deadline, &now));
}

static void host_has_a_boot(void) {
    Now now = now_read();
    CHECK_INT(strlen(now.boot_id), BOOT_ID_SIZE - 1);
    CHECK(now.boot_usec > 0 && now.wall_usec > now.boot_usec);
}

int main(void) {
    RUN(none_is_never);
    RUN(it_passes);
    RUN(set_clocks_do_not_move_it);
    RUN(it_outlives_a_boot);
    RUN(unknown_boot_is_the_wall_clock);
    RUN(host_has_a_boot);
    return 0;
}
