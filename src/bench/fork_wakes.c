/* SPDX-License-Identifier: Apache-2.0 */

/* A VM that went to standby by itself wakes when it is wanted: from the request to the answer of a
 * command in it, which is what a user waits for. */

#include "base/clock.h"
#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_parts.h"

#define IDLE_MSEC 1000

static int call_vm(ForkBench *bench, const json_t *vm, const char *verb, json_t *body,
                   Error *error) {
    _cleanup_json_ json_t *request = body;
    _cleanup_free_ char *path =
        str_format("/v1/vms/%s/%s", json_string_value(json_object_get(vm, "id")), verb);
    return bench_call(bench->bench, "POST", path, request, NULL, error);
}

/* F is measured while it sleeps. */
static int sample_wake(ForkBench *bench, const json_t *vm, Error *error) {
    int r = call_vm(bench, vm, "wait", json_pack("{s:s}", "state", "standby"), error);
    if (r >= 0)
        r = fork_sample_baseline(bench, WAKE_BASELINE, error);
    uint64_t start = clock_monotonic_usec();
    if (r >= 0)
        r = fork_exec(bench, vm, "true", error);
    if (r >= 0)
        fork_sample(bench, WAKE, (double)(clock_monotonic_usec() - start));
    return r;
}

int fork_bench_wakes(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    int r = fork_make(bench, bench->snapshot, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    const json_t *vm = fork_first(answer);
    r = call_vm(bench, vm, "update", json_pack("{s:i}", "idle_standby_ms", IDLE_MSEC), error);
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        bench_say("wake %zu of %zu", i + 1, bench->bench->runs);
        r = sample_wake(bench, vm, error);
    }
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}
