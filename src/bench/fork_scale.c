/* SPDX-License-Identifier: Apache-2.0 */

/* Whether a fork's time depends on what it should not: the guest's memory, how many clones there
 * are, how many generations lie before it. */

#include <unistd.h>

#include "base/str.h"
#include "bench/fork_chain.h"
#include "bench/fork_guests.h"
#include "bench/fork_memory.h"
#include "bench/fork_parts.h"

#define LARGE_BYTES (8 * GIB)
#define GENERATIONS 10
#define CROWD 99 /* clones that are there when the hundredth comes */

/* ---- generations ---- */

int fork_bench_generations(ForkBench *bench, Error *error) {
    ForkChain chain = {0};
    int r = fork_chain_make(bench, bench->snapshot, GENERATIONS - 1, MIB, &chain, error);
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        r = fork_sample_ready(bench, bench->snapshot, GENERATION_FIRST, error);
        if (r >= 0)
            r = fork_sample_ready(bench, chain.last, GENERATION_TENTH, error);
    }
    int removed = fork_chain_remove(bench, &chain, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* ---- memory ---- */

int fork_bench_sizes(ForkBench *bench, Error *error) {
    _cleanup_free_ char *large = str_format("bench-large-%d", (int)getpid());
    bench_say("a VM with 8 GiB");
    int r = fork_freeze_new(bench, LARGE_BYTES, large, error);
    if (r < 0)
        return r;
    r = fork_sample_ready(bench, large, FORK_SAMPLES, error); /* fills what is shared */
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        r = fork_sample_ready(bench, bench->snapshot, FORK_SMALL, error);
        if (r >= 0)
            r = fork_sample_ready(bench, large, FORK_LARGE, error);
    }
    int removed = fork_snapshot_remove(bench, large, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* ---- a hundred ---- */

static int sample_several(ForkBench *bench, size_t count, ForkSample which, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = fork_sample_ready(bench, bench->snapshot, which, error);
    return r;
}

/* The first ones come half before and half after the others, since the machine drifts. */
int fork_bench_crowd(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *crowd = NULL;
    size_t runs = bench->bench->runs;
    bench_say("%d clones", CROWD);
    int r = sample_several(bench, (runs + 1) / 2, FORK_FIRST, error);
    if (r >= 0)
        r = fork_make(bench, bench->snapshot, CROWD, &crowd, NULL, error);
    if (r >= 0)
        r = fork_wait_idle(crowd, error);
    if (r >= 0)
        r = sample_several(bench, runs, FORK_HUNDREDTH, error);
    int removed = crowd ? fork_remove_all(bench, crowd, r < 0 ? NULL : error) : 0;
    if (r >= 0 && removed >= 0)
        r = sample_several(bench, runs / 2, FORK_FIRST, error);
    return r < 0 ? r : removed;
}
