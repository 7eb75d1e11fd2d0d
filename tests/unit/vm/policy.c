/* SPDX-License-Identifier: Apache-2.0 */
#include "home/policy.h"

#include <errno.h>

#include "base/clock.h"
#include "base/str.h"

#include "check.h"

#define SECOND USEC_PER_SEC

static Now clocks = {.wall_usec = 1000 * SECOND, .boot_usec = 50 * SECOND, .boot_id = "a"};

static VmRow row_of(const char *policy, VmState state) {
    VmRow row = {.state = state};
    _cleanup_json_ json_t *json = NULL;
    CHECK_INT(json_parse("test", policy, strlen(policy), &json, NULL), 0);
    CHECK_INT(vm_policy_parse(json, &row.spec.policy, NULL), 0);
    return row;
}

static void pass(uint64_t usec) {
    clocks.wall_usec += usec;
    clocks.boot_usec += usec;
}

static PolicyStep next(const VmRow *row, uint64_t *left) {
    return policy_next(row, &clocks, left);
}

static void texts_are_read(void) {
    static const char *const bad[] = {"",
                                      "On-failure",
                                      "on-failure:",
                                      "on-failure:0",
                                      "always:1",
                                      "on-failure:1x",
                                      "on-failure:99999999999",
                                      "unless-stopped"};
    static const char *const good[] = {"no", "always", "on-failure", "on-failure:3"};
    RestartKind kind;
    uint64_t max;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(restart_parse(bad[i], &kind, &max), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CHECK_INT(restart_parse(good[i], &kind, &max), 0);
        _cleanup_free_ char *text = restart_format(kind, max);
        CHECK_STR(text, good[i]);
    }
}

static void clients_are_bounded(void) {
    static const char *const bad[] = {"{\"ttl_ms\":-1}", "{\"ttl_ms\":\"1h\"}",
                                      "{\"ttl_ms\":315360000001}", "{\"restart\":7}",
                                      "{\"restart\":\"maybe\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_json_ json_t *json = NULL;
        VmPolicy policy = {0};
        CHECK_INT(json_parse("test", bad[i], strlen(bad[i]), &json, NULL), 0);
        CHECK(vm_policy_parse(json, &policy, NULL) < 0);
    }
}

static void time_to_live_begins_once(void) {
    VmRow row = row_of("{\"ttl_ms\":10000}", STATE_STARTING);
    uint64_t left;
    CHECK(next(&row, &left) == STEP_NONE && left == UINT64_MAX);
    policy_note_state(&row, STATE_RUNNING, &clocks);
    row.state = STATE_RUNNING;
    pass(4 * SECOND);
    policy_note_state(&row, STATE_RUNNING, &clocks); /* after a pause, standby, a restart */
    CHECK(next(&row, &left) == STEP_NONE);
    CHECK_INT(left, 6 * SECOND);
    pass(6 * SECOND);
    CHECK(next(&row, &left) == STEP_EXPIRE);
    row.state = STATE_STOPPING;
    CHECK(next(&row, &left) == STEP_NONE);
    CHECK(!policy_note_end(&row, END_ASKED, 0, &clocks));
    row.state = STATE_STOPPED;
    CHECK(next(&row, &left) == STEP_NONE && left == UINT64_MAX);
}

static void another_boot_is_noted(void) {
    VmRow row = row_of("{\"ttl_ms\":10000}", STATE_RUNNING);
    Now before = clocks;
    uint64_t left;
    policy_note_state(&row, STATE_RUNNING, &clocks);
    str_set(clocks.boot_id, "b");
    clocks.boot_usec = 1;
    CHECK(next(&row, &left) == STEP_REBASE);
    policy_rebase(&row, &clocks);
    CHECK(next(&row, &left) == STEP_NONE);
    CHECK_INT(left, 10 * SECOND);
    clocks = before;
}

/* state table: policy × end → whether it starts again */
static void ends_lead_to_restarts(void) {
    static const struct {
        const char *policy;
        bool asked, poweroff, failure;
    } rows[] = {{"no", false, false, false},
                {"on-failure", false, false, true},
                {"on-failure:1", false, false, true},
                {"always", false, true, true}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = str_format("{\"restart\":\"%s\"}", rows[i].policy);
        const bool wanted[] = {rows[i].asked, rows[i].poweroff, rows[i].failure};
        for (size_t end = 0; end < 3; end++) {
            VmRow row = row_of(text, STATE_RUNNING);
            CHECK(policy_note_end(&row, (PolicyEnd)end, 0, &clocks) == wanted[end]);
            CHECK(deadline_is_set(&row.runtime.timers.restart) == wanted[end]);
        }
    }
}

static uint64_t next_wait(VmRow *row, uint64_t ran_usec) {
    CHECK(policy_note_end(row, END_FAILURE, ran_usec, &clocks));
    return deadline_left(&row->runtime.timers.restart, &clocks);
}

static void restarts_are_put_off(void) {
    VmRow row = row_of("{\"restart\":\"always\"}", STATE_FAILED);
    uint64_t wait = 0, left;
    CHECK_INT(next_wait(&row, 0), 100000);
    CHECK_INT(next_wait(&row, 9 * SECOND), 200000);
    for (int i = 0; i < 20; i++)
        wait = next_wait(&row, SECOND);
    CHECK_INT(wait, 60 * SECOND);
    CHECK_INT(next_wait(&row, 10 * SECOND), 100000);
    CHECK(next(&row, &left) == STEP_NONE);
    pass(100000);
    CHECK(next(&row, &left) == STEP_RESTART);
    policy_note_state(&row, STATE_STARTING, &clocks);
    CHECK(!deadline_is_set(&row.runtime.timers.restart));
}

static void restarts_are_counted(void) {
    VmRow row = row_of("{\"restart\":\"on-failure:2\",\"ttl_ms\":10000}", STATE_RUNNING);
    policy_note_state(&row, STATE_RUNNING, &clocks);
    for (row.runtime.timers.restarts = 0; row.runtime.timers.restarts < 2;
         row.runtime.timers.restarts++)
        CHECK(policy_retry(&row, &clocks));
    CHECK(deadline_is_set(&row.runtime.timers.expires));
    CHECK(!policy_retry(&row, &clocks));
    CHECK(!deadline_is_set(&row.runtime.timers.expires));
    policy_begin(&row);
    CHECK(policy_retry(&row, &clocks));
}

static void it_is_shown(void) {
    VmRow row = row_of("{\"restart\":\"on-failure:2\",\"ttl_ms\":10000}", STATE_RUNNING);
    _cleanup_json_ json_t *json = NULL;
    _cleanup_free_ char *at = clock_format_realtime(clocks.wall_usec + 10 * SECOND);
    policy_note_state(&row, STATE_RUNNING, &clocks);
    json = policy_describe(&row, &clocks);
    CHECK_STR(json_string_value(json_object_get(json, "expires_at")), at);
    CHECK_STR(json_string_value(json_object_get(json, "restart")), "on-failure:2");
    CHECK(json_is_null(json_object_get(json, "restart_at")));
    CHECK_INT(json_integer_value(json_object_get(json, "ttl_ms")), 10000);
}

int main(void) {
    RUN(texts_are_read);
    RUN(clients_are_bounded);
    RUN(time_to_live_begins_once);
    RUN(another_boot_is_noted);
    RUN(ends_lead_to_restarts);
    RUN(restarts_are_put_off);
    RUN(restarts_are_counted);
    RUN(it_is_shown);
    return 0;
}
