/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_PARTS_H
#define RAMET_BENCH_FORK_PARTS_H

/* The parts of `ramet bench fork`: each adds its figures; one that fails does not stop the others.
 */

#include "bench/fork_samples.h"

int fork_bench_starts(ForkBench *bench, Error *error);      /* fork_starts.c: F, forks, claims */
int fork_bench_sixteen(ForkBench *bench, Error *error);     /* fork_starts.c */
int fork_bench_runs(ForkBench *bench, Error *error);        /* fork_runs.c: cold, cache, pool */
int fork_bench_wakes(ForkBench *bench, Error *error);       /* fork_wakes.c */
int fork_bench_pauses(ForkBench *bench, Error *error);      /* fork_frozen.c */
int fork_bench_memory(ForkBench *bench, Error *error);      /* fork_memory.c */
int fork_bench_generations(ForkBench *bench, Error *error); /* fork_scale.c */
int fork_bench_sizes(ForkBench *bench, Error *error);       /* fork_scale.c */
int fork_bench_crowd(ForkBench *bench, Error *error);       /* fork_scale.c */
int fork_bench_prepared(ForkBench *bench, Error *error);    /* fork_prepared.c */
int fork_bench_workloads(ForkBench *bench, Error *error);   /* fork_workloads.c */
int fork_bench_live(ForkBench *bench, Error *error);        /* fork_live.c */
int fork_bench_stock(ForkBench *bench, Error *error);       /* fork_stock.c */

#endif
