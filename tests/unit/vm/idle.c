/* SPDX-License-Identifier: Apache-2.0 */
#include "tend/idle.h"

#include "base/clock.h"

#include "check.h"

#define SECOND USEC_PER_SEC

static IdleWatch watch;

static void begin(void) {
    watch = (IdleWatch){.last = {.at_usec = SECOND, .cpu_usec = SECOND, .packets = 7},
                        .busy_usec = SECOND};
}

/* So much later, with so much more. */
static bool is_busy_after(uint64_t passed, uint64_t cpu, uint64_t packets) {
    IdleSample sample = watch.last;
    sample.at_usec += passed;
    sample.cpu_usec += cpu;
    sample.packets += packets;
    idle_note(&watch, &sample);
    return watch.busy_usec == sample.at_usec;
}

static void work_is_noticed(void) {
    begin();
    CHECK(!is_busy_after(SECOND, 0, 0));
    CHECK(!is_busy_after(SECOND, SECOND / 100 * IDLE_CPU_PERCENT, 0));
    CHECK(is_busy_after(SECOND, SECOND / 100 * IDLE_CPU_PERCENT + 1, 0));
    CHECK(is_busy_after(SECOND, 0, 1));
    CHECK(!is_busy_after(10 * SECOND, SECOND / 10, 0));
    CHECK_INT(watch.last.at_usec - watch.busy_usec, 10 * SECOND);
}

/* A switch that was started anew counts from 0, and so does another QEMU. */
static void counters_may_begin_anew(void) {
    IdleSample sample;
    begin();
    sample = (IdleSample){.at_usec = 2 * SECOND, .cpu_usec = SECOND, .packets = 0};
    idle_note(&watch, &sample);
    CHECK_INT(watch.busy_usec, 2 * SECOND);
    sample = (IdleSample){.at_usec = 3 * SECOND, .cpu_usec = 0, .packets = 0};
    idle_note(&watch, &sample);
    CHECK_INT(watch.busy_usec, 3 * SECOND);
}

static void looks_are_seldom(void) {
    CHECK_INT(idle_period(SECOND), SECOND / 4);
    CHECK_INT(idle_period(1), SECOND / 4);
    CHECK_INT(idle_period(20 * SECOND), 5 * SECOND);
    CHECK_INT(idle_period(3600 * SECOND), 15 * SECOND);
}

/* Of VMs that started at different times, too. */
static void looks_are_together(void) {
    uint64_t at = 1000 * SECOND;
    CHECK_INT(idle_until_look(at, 20 * SECOND), 5 * SECOND);
    CHECK_INT(idle_until_look(at + 1, 20 * SECOND), 5 * SECOND - 1);
    CHECK_INT(idle_until_look(at + 5 * SECOND - 1, 20 * SECOND), 1);
    for (uint64_t begun = at; begun < at + 5 * SECOND; begun += SECOND / 3)
        CHECK_INT(begun + idle_until_look(begun, 20 * SECOND), at + 5 * SECOND);
}

int main(void) {
    RUN(work_is_noticed);
    RUN(counters_may_begin_anew);
    RUN(looks_are_seldom);
    RUN(looks_are_together);
    return 0;
}
