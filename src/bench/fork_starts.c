/* SPDX-License-Identifier: Apache-2.0 */

/* F, a fork and a claim, in turn. There is a pool only while a clone is claimed, since a fork would
 * take a warm clone, too, and since its refill works beside what is measured. */

#include "bench/fork_guests.h"
#include "bench/fork_parts.h"
#include "bench/fork_stages.h"

#define GROUP 16
#define GROUP_RUNS 10

/* Forks one clone; what the host used for it, from the request to the answer. The answer may be
 * there on failure, too. */
static int fork_with_cost(ForkBench *bench, ForkSample which, json_t **answer, uint64_t *usec,
                          Error *error) {
    _cleanup_(host_cost_free) HostCost before = {0}, after = {0};
    double sum = 0;
    int r = host_cost_read(bench->daemon, &before, error);
    if (r >= 0)
        r = fork_make(bench, bench->snapshot, 1, answer, usec, error);
    if (r < 0)
        return r;
    const json_t *vm = fork_first(*answer);
    pid_t keeper = (pid_t)json_integer_value(json_object_get(vm, "keeper_pid"));
    pid_t qemu = (pid_t)json_integer_value(json_object_get(vm, "qemu_pid"));
    r = host_cost_read(bench->daemon, &after, error);
    for (HostRole role = 0; r >= 0 && role < HOST_ROLES; role++) {
        double used = host_cost_since(&before, &after, role, keeper, qemu);
        fork_sample(bench, which + 1 + role, used);
        sum += used;
    }
    if (r >= 0)
        fork_sample(bench, which, sum);
    return r;
}

static int sample_fork(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    uint64_t usec;
    int r = fork_with_cost(bench, FORK_HOST, &answer, &usec, error);
    if (r < 0 && answer)
        (void)fork_remove_all(bench, answer, NULL);
    if (r < 0)
        return r;
    const json_t *vm = fork_first(answer);
    fork_sample(bench, FORK_CLIENT, (double)usec);
    fork_sample(bench, FORK_RESTORED, fork_stage_end(vm, "load"));
    fork_sample(bench, FORK_ANSWER, fork_stage_end(vm, "agent"));
    fork_sample(bench, FORK_READY, fork_ready_usec(vm));
    fork_keep_start(bench, FORK_READY, vm);
    return fork_remove_all(bench, answer, error);
}

static int note_claim(ForkBench *bench, const json_t *vm, uint64_t usec, Error *error) {
    const char *boot = json_string_value(json_object_get(vm, "boot"));
    if (!str_equal(boot, "claimed"))
        return error_set(error, ERROR_FAILED, 0, "a fork beside a full pool was %s, not claimed",
                         boot ? boot : "?");
    fork_sample(bench, CLAIM_CLIENT, (double)usec);
    fork_sample(bench, CLAIM_ANSWER, fork_stage_end(vm, "agent"));
    fork_sample(bench, CLAIM_READY, fork_ready_usec(vm));
    fork_keep_start(bench, CLAIM_READY, vm);
    return 0;
}

static int sample_claim(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    uint64_t usec;
    int r = fork_pool(bench, bench->snapshot, 1, error);
    if (r >= 0)
        r = fork_sample_baseline(bench, BASELINE, error);
    if (r >= 0)
        r = fork_with_cost(bench, CLAIM_HOST, &answer, &usec, error);
    if (r >= 0)
        r = note_claim(bench, fork_first(answer), usec, error);
    int ended = fork_pool(bench, bench->snapshot, 0, r < 0 ? NULL : error);
    int removed = answer ? fork_remove_all(bench, answer, r < 0 || ended < 0 ? NULL : error) : 0;
    return r < 0 ? r : MIN_OF(ended, removed);
}

static int find_daemon(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *version = NULL;
    int r = bench_call(bench->bench, "GET", "/v1/version", NULL, &version, error);
    bench->daemon = (pid_t)json_integer_value(json_object_get(version, "pid"));
    return r;
}

int fork_bench_starts(ForkBench *bench, Error *error) {
    int r = find_daemon(bench, error);
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        bench_say("fork and claim %zu of %zu", i + 1, bench->bench->runs);
        r = fork_sample_baseline(bench, BASELINE, error);
        if (r >= 0)
            r = sample_fork(bench, error);
        if (r >= 0)
            r = sample_claim(bench, error);
    }
    return r;
}

/* The last one's time counts, from the arrival of the request for all of them. */
static int sample_sixteen(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    const json_t *vm;
    double last = 0;
    size_t i;
    int r = fork_make(bench, bench->snapshot, GROUP, &answer, NULL, error);
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(answer, "vms"), i, vm) {
        last = MAX_OF(last, fork_ready_usec(vm));
    }
    fork_sample(bench, SIXTEEN, last);
    return fork_remove_all(bench, answer, error);
}

int fork_bench_sixteen(ForkBench *bench, Error *error) {
    size_t runs = fork_slow_runs(bench, GROUP_RUNS);
    int r = 0;
    for (size_t i = 0; r >= 0 && i < runs; i++) {
        bench_say("16 forks at once, %zu of %zu", i + 1, runs);
        r = fork_sample_baseline(bench, SIXTEEN_BASELINE, error);
        if (r >= 0)
            r = sample_sixteen(bench, error);
    }
    return r;
}
