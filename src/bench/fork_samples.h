/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_SAMPLES_H
#define RAMET_BENCH_FORK_SAMPLES_H

/* The samples of `ramet bench fork`. */

#include "bench/boot_files.h"
#include "bench/host_cost.h"

#define PREPARED_SIZES 4 /* 1, 64, 256 and 1,024 MiB */
#define WORKLOADS 3      /* Debian, a Python, a PostgreSQL */

typedef enum ForkSample {
    BASELINE,
    FORK_RESTORED,
    FORK_ANSWER,
    FORK_READY,
    FORK_CLIENT,
    CLAIM_ANSWER,
    CLAIM_READY,
    CLAIM_CLIENT,
    RUN_COLD,
    RUN_CACHE,
    RUN_POOL,
    PAUSE_BASELINE, /* F again, in turn with what it is compared with */
    PAUSE,
    SNAPSHOT_DIRTY,
    SNAPSHOT_BEYOND,
    FORK_SMALL,
    FORK_LARGE,
    FORK_FIRST,
    FORK_HUNDREDTH,
    GENERATION_FIRST,
    GENERATION_TENTH,
    CLONE_PRIVATE,
    CLONE_PSS,
    SIXTEEN_BASELINE,
    SIXTEEN,
    WAKE_BASELINE,
    WAKE,
    COLD_RAMET,
    COLD_PLAIN,
    MIGRATE_SAVE,
    MIGRATE_RESTORE,
    LIBVIRT_SAVE,
    LIBVIRT_RESTORE,
    PREPARED_READY, /* PREPARED_SIZES of each, by what was written before */
    PREPARED_FIRST = PREPARED_READY + PREPARED_SIZES,
    PREPARED_PRIVATE = PREPARED_FIRST + PREPARED_SIZES,
    PREPARED_CREATE = PREPARED_PRIVATE + PREPARED_SIZES,
    PREPARED_PAUSE = PREPARED_CREATE + PREPARED_SIZES,
    PREPARED_PRIVATE_BEYOND = PREPARED_PAUSE + PREPARED_SIZES,
    CHAIN_FIRST,
    CHAIN_LAST,
    LIVE_FORK,
    LIVE_COPY,
    LIVE_BASELINE,
    LIVE_BOUND,
    LIVE_CREATE,
    LIVE_COPY_HOME,
    WORKLOAD_READY, /* WORKLOADS of each */
    WORKLOAD_ANSWER = WORKLOAD_READY + WORKLOADS,
    WORKLOAD_PRIVATE = WORKLOAD_ANSWER + WORKLOADS,
    WORKLOAD_CREATE = WORKLOAD_PRIVATE + WORKLOADS,
    WORKLOAD_PAUSE = WORKLOAD_CREATE + WORKLOADS,
    WORKLOAD_WRITTEN = WORKLOAD_PAUSE + WORKLOADS,
    FORK_HOST =
        WORKLOAD_WRITTEN + WORKLOADS, /* all of the host's own work, then one for each HostRole */
    CLAIM_HOST = FORK_HOST + 1 + HOST_ROLES,
    FORK_SAMPLES = CLAIM_HOST + 1 + HOST_ROLES,
} ForkSample;

typedef struct ForkBench {
    Bench *bench; /* borrowed */
    BootFiles files;
    char *snapshot; /* owned: what most forks grow from */
    pid_t daemon;
    Samples samples[FORK_SAMPLES];
    json_t *starts[FORK_SAMPLES]; /* owned: stages of each start, beside FORK_READY and so on */
} ForkBench;

/* Adds one figure. */
void fork_sample(ForkBench *bench, ForkSample which, double value);

/* Adds one F. */
int fork_sample_baseline(ForkBench *bench, ForkSample which, Error *error);

/* How often what takes seconds is measured: `most` times, or less when fewer rounds are wanted. */
size_t fork_slow_runs(const ForkBench *bench, size_t most);

#endif
