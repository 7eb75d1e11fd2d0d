/* SPDX-License-Identifier: Apache-2.0 */

/* F, a fork and a claim, in turn. There is a pool only while a clone is claimed, since a fork would
 * take a warm clone, too, and since its refill works beside what is measured. */

#include "bench/fork.h"

#define GROUP 16
#define GROUP_RUNS 10

static int sample_fork(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    uint64_t usec;
    int r = fork_make(bench, bench->snapshot, 1, &answer, &usec, error);
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
        r = fork_sample_yardstick(bench, YARDSTICK, error);
    if (r >= 0)
        r = fork_make(bench, bench->snapshot, 1, &answer, &usec, error);
    if (r >= 0)
        r = note_claim(bench, fork_first(answer), usec, error);
    int ended = fork_pool(bench, bench->snapshot, 0, r < 0 ? NULL : error);
    int removed = answer ? fork_remove_all(bench, answer, r < 0 || ended < 0 ? NULL : error) : 0;
    return r < 0 ? r : MIN_OF(ended, removed);
}

int fork_bench_starts(ForkBench *bench, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        bench_say("fork and claim %zu of %zu", i + 1, bench->bench->runs);
        r = fork_sample_yardstick(bench, YARDSTICK, error);
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
        r = fork_sample_yardstick(bench, SIXTEEN_YARDSTICK, error);
        if (r >= 0)
            r = sample_sixteen(bench, error);
    }
    return r;
}
