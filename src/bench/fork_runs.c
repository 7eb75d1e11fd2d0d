/* SPDX-License-Identifier: Apache-2.0 */

/* `ramet run --rm IMAGE -- true`, the whole command: cold, from the boot cache, from a pool. */

#include "bench/fork_guests.h"
#include "bench/fork_parts.h"

#define COLD_RUNS 10

static int sample_run(ForkBench *bench, bool cold, ForkSample which, Error *error) {
    const char *const cold_arguments[] = {"run", "--rm", "--cold", bench->bench->image,
                                          "--",  "true", NULL};
    const char *const arguments[] = {"run", "--rm", bench->bench->image, "--", "true", NULL};
    uint64_t usec;
    int r = bench_cli(bench->bench, cold ? cold_arguments : arguments, &usec, error);
    if (r >= 0 && which != FORK_SAMPLES)
        fork_sample(bench, which, (double)usec);
    return r;
}

static int sample_pool(ForkBench *bench, Error *error) {
    int r = fork_pool(bench, bench->bench->image, 1, error);
    if (r >= 0)
        r = sample_run(bench, false, RUN_POOL, error);
    int ended = fork_pool(bench, bench->bench->image, 0, r < 0 ? NULL : error);
    return r < 0 ? r : ended;
}

/* Two of the fast ones beside each cold one. */
static int sample_round(ForkBench *bench, Error *error) {
    int r = sample_run(bench, true, RUN_COLD, error);
    for (size_t i = 0; r >= 0 && i < 2; i++) {
        r = sample_run(bench, false, RUN_CACHE, error);
        if (r >= 0)
            r = sample_pool(bench, error);
    }
    return r;
}

int fork_bench_runs(ForkBench *bench, Error *error) {
    size_t runs = fork_slow_runs(bench, COLD_RUNS);
    int r = sample_run(bench, false, FORK_SAMPLES, error); /* fills the cache */
    for (size_t i = 0; r >= 0 && i < runs; i++) {
        bench_say("run %zu of %zu", i + 1, runs);
        r = sample_round(bench, error);
    }
    return r;
}
