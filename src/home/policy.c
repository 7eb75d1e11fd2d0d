/* SPDX-License-Identifier: Apache-2.0 */

/* A restart is put off for longer each time: for RESTART_FIRST_USEC, then twice as long, up to
 * RESTART_MOST_USEC. A run of RESTART_SOUND_USEC shows that it was no use to wait, and the next one
 * is put off for the first time again. A time to live begins with a start that somebody asked for,
 * and goes on over restarts, standby and the daemon's own end. */

#include "home/policy.h"

#include <errno.h>
#include <limits.h>

#include "base/clock.h"
#include "base/str.h"

#define RESTART_FIRST_USEC (100 * USEC_PER_MSEC)
#define RESTART_MOST_USEC (60 * USEC_PER_SEC)
#define RESTART_SOUND_USEC (10 * USEC_PER_SEC)
#define WHAT "the specification"

/* ---- from a client ---- */

static int read_span(const json_t *json, const char *key, uint64_t *usec, Error *error) {
    uint64_t msec = *usec / USEC_PER_MSEC;
    int r = json_opt_u64(WHAT, json, key, &msec, error);
    if (r < 0)
        return r;
    if (msec > POLICY_USEC_MAX / USEC_PER_MSEC)
        return error_set(error, ERROR_USAGE, ERANGE, "%s is more than ten years", key);
    *usec = msec * USEC_PER_MSEC;
    return 0;
}

static int read_schedule(const json_t *json, VmPolicy *policy, Error *error) {
    uint64_t every = policy->snapshot_usec, keep = policy->snapshots_kept;
    int r = read_span(json, "snapshot_every_ms", &every, error);
    if (r >= 0)
        r = json_opt_u64(WHAT, json, "snapshot_keep", &keep, error);
    if (r < 0)
        return r;
    if (every > 0 && (every < USEC_PER_SEC || keep < 1))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "snapshots are taken every second at most, and one is kept at least");
    policy->snapshot_usec = every;
    policy->snapshots_kept = every ? keep : 0;
    return 0;
}

int vm_policy_parse(const json_t *json, VmPolicy *policy, Error *error) {
    const char *restart = NULL;
    int r = read_span(json, "ttl_ms", &policy->ttl_usec, error);
    if (r >= 0)
        r = read_span(json, "idle_standby_ms", &policy->idle_usec, error);
    if (r >= 0)
        r = read_schedule(json, policy, error);
    if (r >= 0)
        r = json_opt_string(WHAT, json, "restart", &restart, error);
    if (r < 0 || !restart)
        return r;
    if (restart_parse(restart, &policy->restart, &policy->restart_max) < 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "\"%.40s\" is none of no, on-failure, on-failure:N and always", restart);
    return 0;
}

/* ---- what happened ---- */

static void forget_restart(VmTimers *timers) {
    timers->restart = (Deadline){0};
    timers->restarts = timers->restart_usec = 0;
}

void policy_begin(VmRow *row) {
    row->runtime.timers.expires = (Deadline){0};
    forget_restart(&row->runtime.timers);
}

void policy_note_state(VmRow *row, VmState to, const Now *now) {
    const VmPolicy *policy = &row->spec.policy;
    VmTimers *timers = &row->runtime.timers;
    if (to == STATE_STARTING || to == STATE_RUNNING)
        timers->restart = (Deadline){0};
    if (to == STATE_RUNNING)
        timers->dozing = false;
    if (to != STATE_RUNNING)
        return;
    if (policy->ttl_usec && !deadline_is_set(&timers->expires))
        timers->expires = deadline_in(now, policy->ttl_usec);
    if (policy->snapshot_usec && !deadline_is_set(&timers->snapshot))
        timers->snapshot = deadline_in(now, policy->snapshot_usec);
}

static bool may_restart(const VmRow *row, PolicyEnd end) {
    const VmPolicy *policy = &row->spec.policy;
    if (end == END_ASKED || policy->restart == RESTART_NO)
        return false;
    if (policy->restart == RESTART_ALWAYS)
        return true;
    return end == END_FAILURE &&
           (!policy->restart_max || row->runtime.timers.restarts < policy->restart_max);
}

static void plan_restart(VmTimers *timers, uint64_t ran_usec, const Now *now) {
    uint64_t wait = timers->restart_usec * 2;
    if (ran_usec >= RESTART_SOUND_USEC)
        wait = 0;
    timers->restart_usec = MIN_OF(MAX_OF(wait, RESTART_FIRST_USEC), RESTART_MOST_USEC);
    timers->restart = deadline_in(now, timers->restart_usec);
}

bool policy_note_end(VmRow *row, PolicyEnd end, uint64_t ran_usec, const Now *now) {
    VmTimers *timers = &row->runtime.timers;
    if (may_restart(row, end)) {
        plan_restart(timers, ran_usec, now);
        return true;
    }
    timers->expires = timers->restart = (Deadline){0};
    return false;
}

bool policy_retry(VmRow *row, const Now *now) {
    return policy_note_end(row, END_FAILURE, 0, now);
}

/* ---- what is to be done ---- */

static bool may_step(const VmRow *row) {
    return row->state != STATE_STOPPING && row->state != STATE_UNKNOWN;
}

static bool is_of_other_boot(const VmTimers *timers, const Now *now) {
    VmTimers copy = *timers;
    return deadline_rebase(&copy.expires, now) || deadline_rebase(&copy.restart, now) ||
           deadline_rebase(&copy.snapshot, now);
}

void policy_rebase(VmRow *row, const Now *now) {
    VmTimers *timers = &row->runtime.timers;
    (void)deadline_rebase(&timers->expires, now);
    (void)deadline_rebase(&timers->restart, now);
    (void)deadline_rebase(&timers->snapshot, now);
}

PolicyStep policy_next(const VmRow *row, const Now *now, uint64_t *left_usec) {
    const VmTimers *timers = &row->runtime.timers;
    const struct {
        const Deadline *at;
        PolicyStep step;
    } steps[] = {{&timers->expires, STEP_EXPIRE},
                 {&timers->restart, STEP_RESTART},
                 {&timers->snapshot, STEP_SNAPSHOT}};
    *left_usec = UINT64_MAX;
    if (!may_step(row)) /* it is looked at again when its state changes */
        return STEP_NONE;
    if (is_of_other_boot(timers, now))
        return STEP_REBASE;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        uint64_t left = deadline_left(steps[i].at, now);
        if (left == 0)
            return steps[i].step;
        *left_usec = MIN_OF(*left_usec, left);
    }
    return STEP_NONE;
}

/* ---- as JSON ---- */

static json_t *describe_span(uint64_t usec) {
    return usec ? json_integer((json_int_t)(usec / USEC_PER_MSEC)) : json_null();
}

static json_t *describe_deadline(const Deadline *deadline, const Now *now) {
    _cleanup_free_ char *text = NULL;
    if (!deadline_is_set(deadline))
        return json_null();
    text = clock_format_realtime(deadline_wall(deadline, now));
    return json_string(text);
}

json_t *policy_describe(const VmRow *row, const Now *now) {
    const VmPolicy *policy = &row->spec.policy;
    const VmTimers *timers = &row->runtime.timers;
    _cleanup_free_ char *restart = restart_format(policy->restart, policy->restart_max);
    return json_pack(
        "{s:o, s:o, s:s, s:I, s:o, s:o, s:b, s:o, s:o, s:o}", "ttl_ms",
        describe_span(policy->ttl_usec), "expires_at", describe_deadline(&timers->expires, now),
        "restart", restart, "restarts", (json_int_t)timers->restarts, "restart_at",
        describe_deadline(&timers->restart, now), "idle_standby_ms",
        describe_span(policy->idle_usec), "idle", timers->dozing && row->state == STATE_STANDBY,
        "snapshot_every_ms", describe_span(policy->snapshot_usec), "snapshot_keep",
        policy->snapshots_kept ? json_integer((json_int_t)policy->snapshots_kept) : json_null(),
        "snapshot_at", describe_deadline(&timers->snapshot, now));
}
