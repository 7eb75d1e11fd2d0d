/* SPDX-License-Identifier: Apache-2.0 */

/* Which figure stands beside which, and what was asked of it. */

#include "bench/fork_rows.h"
#include "base/str.h"

#define NONE FORK_SAMPLES

typedef struct ForkRow {
    ForkSample sample;
    const char *name;
    const char *unit;
    const char *label;  /* for rows that others are compared with */
    ForkSample against; /* NONE: nothing */
    double most;        /* ratio to `against`, or a bound where there is none; 0: nothing asked */
} ForkRow;

/* A prepared VM's figure, beside that after 1 MiB; most: the ratio asked after 1,024. */
#define PREPARED(sample, what, unit, most)                                   \
    {(sample), what ", 1 MiB written", unit, "1 MiB", NONE, 0},              \
        {(sample) + 1, what ", 64 MiB written", unit, NULL, (sample), 0},    \
        {(sample) + 2, what ", 256 MiB written", unit, NULL, (sample), 0}, { \
        (sample) + 3, what ", 1024 MiB written", unit, NULL, (sample), most  \
    }

/* A Debian's figure when its programs have done something, beside that of one that has booted. */
#define WORKLOAD(sample, what, unit, most)                                        \
    {(sample), what ", Debian booted", unit, "Debian", NONE, 0},                  \
        {(sample) + 1, what ", Python with numpy", unit, NULL, (sample), most}, { \
        (sample) + 2, what ", PostgreSQL", unit, NULL, (sample), most             \
    }

#define HOST(sample, what)                                                                        \
    {(sample), what ": the host's own processor time", "us", NULL, BASELINE, 0},                  \
        {(sample) + 1 + HOST_DAEMON, what ": of it the daemon's", "us", NULL, BASELINE, 0},       \
        {(sample) + 1 + HOST_ZYGOTE, what ": of it the zygote's", "us", NULL, BASELINE, 0},       \
        {(sample) + 1 + HOST_KEEPER, what ": of it the keeper's", "us", NULL, BASELINE, 0}, {     \
        (sample) + 1 + HOST_QEMU, what ": of it QEMU's, less its vCPU's", "us", NULL, BASELINE, 0 \
    }

static const ForkRow rows[] = {
    {BASELINE, "F: QEMU's exec to its greeting", "us", "F", NONE, 0},
    {FORK_RESTORED, "fork: restored", "us", NULL, BASELINE, 1.3},
    {FORK_ANSWER, "fork: first answer", "us", NULL, BASELINE, 1.7},
    {FORK_READY, "fork: ready with identity", "us", NULL, BASELINE, 2},
    {FORK_CLIENT, "fork: the client's whole call", "us", NULL, BASELINE, 0},
    {CLAIM_ANSWER, "claim: first answer", "us", NULL, BASELINE, 0.15},
    {CLAIM_READY, "claim: ready with identity", "us", NULL, BASELINE, 0.3},
    {CLAIM_CLIENT, "claim: the client's whole call", "us", NULL, BASELINE, 0},
    HOST(FORK_HOST, "fork"),
    HOST(CLAIM_HOST, "claim"),
    {RUN_COLD, "run --rm --cold IMAGE -- true", "us", "cold", NONE, 0},
    {RUN_CACHE, "run --rm IMAGE -- true, cache warm", "us", NULL, RUN_COLD, 0.1},
    {RUN_POOL, "run --rm IMAGE -- true, with a pool", "us", NULL, RUN_COLD, 0.02},
    {PAUSE_BASELINE, NULL, "us", "F", NONE, 0},
    {PAUSE, "pause of a clone with 8 MiB dirty", "us", NULL, PAUSE_BASELINE, 0.5},
    {SNAPSHOT_DIRTY, "its dirty pages", "bytes", NULL, NONE, 0},
    {SNAPSHOT_BEYOND, "its snapshot beyond the dirty pages", "bytes", NULL, NONE, 64 * KIB},
    {FORK_SMALL, "fork of a VM with 256 MiB", "us", "small", NONE, 0},
    {FORK_LARGE, "fork of a VM with 8 GiB", "us", NULL, FORK_SMALL, 1.15},
    {FORK_FIRST, "first fork of a generation", "us", "first", NONE, 0},
    {FORK_HUNDREDTH, "100th fork of a generation", "us", NULL, FORK_FIRST, 1.2},
    {GENERATION_FIRST, "fork of the first generation", "us", "first", NONE, 0},
    {GENERATION_TENTH, "fork of the 10th generation", "us", NULL, GENERATION_FIRST, 1.2},
    {CLONE_PRIVATE, "idle clone: private memory", "bytes", NULL, NONE, 16e6},
    {CLONE_PSS, "idle clone: proportional share (PSS)", "bytes", NULL, NONE, 0},
    {SIXTEEN_BASELINE, NULL, "us", "F", NONE, 0},
    {SIXTEEN, "16 forks at once, all ready", "us", NULL, SIXTEEN_BASELINE, 16 * 1.2},
    {WAKE_BASELINE, NULL, "us", "F", NONE, 0},
    {WAKE, "wake from idle standby to the first answer", "us", NULL, WAKE_BASELINE, 3},
    PREPARED(PREPARED_READY, "fork: ready", "us", 1.2),
    PREPARED(PREPARED_FIRST, "first fork: ready", "us", 0),
    PREPARED(PREPARED_PRIVATE, "idle clone: private", "bytes", 0),
    {PREPARED_PRIVATE_BEYOND, "private, 1024 MiB less 1 MiB", "bytes", NULL, NONE, 2 * MIB},
    PREPARED(PREPARED_CREATE, "snapshot create", "us", 0),
    PREPARED(PREPARED_PAUSE, "pause", "us", 2),
    {CHAIN_FIRST, "fork of the 1st prepared generation", "us", "first", NONE, 0},
    {CHAIN_LAST, "fork of the 10th prepared generation", "us", NULL, CHAIN_FIRST, 1.3},
    WORKLOAD(WORKLOAD_READY, "fork: ready", "us", 1.2),
    WORKLOAD(WORKLOAD_ANSWER, "fork to first answer", "us", 0),
    WORKLOAD(WORKLOAD_PRIVATE, "idle clone: private", "bytes", 0),
    WORKLOAD(WORKLOAD_WRITTEN, "written", "bytes", 0),
    WORKLOAD(WORKLOAD_CREATE, "snapshot create", "us", 0),
    WORKLOAD(WORKLOAD_PAUSE, "pause", "us", 0),
    {LIVE_BOUND, NULL, "us", "2 cp + 3 F", NONE, 0},
    {LIVE_BASELINE, NULL, "us", "F", NONE, 0},
    {LIVE_COPY, "cp as much within /dev/shm", "us", "cp", NONE, 0},
    {LIVE_FORK, "live fork of a prepared VM", "us", NULL, LIVE_BOUND, 1},
    {LIVE_COPY_HOME, "cp as much from there to the home, fsync", "us", "cp", NONE, 0},
    {LIVE_CREATE, "snapshot create of a prepared VM", "us", NULL, LIVE_COPY_HOME, 1.5},
    {COLD_RAMET, "cold boot to ready", "us", NULL, BASELINE, 0},
    {COLD_PLAIN, "plain QEMU's boot to the agent's answer", "us", NULL, BASELINE, 0},
    {MIGRATE_SAVE, "QEMU migrate to a file", "us", NULL, BASELINE, 0},
    {MIGRATE_RESTORE, "QEMU from that file to the first answer", "us", NULL, BASELINE, 0},
    {LIBVIRT_SAVE, "virsh save", "us", NULL, BASELINE, 0},
    {LIBVIRT_RESTORE, "virsh restore to the first answer", "us", NULL, BASELINE, 0},
};

void fork_rows_name(ForkBench *bench) {
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Samples *samples = &bench->samples[rows[i].sample];
        samples->name = rows[i].name ? rows[i].name : rows[i].label;
        samples->label = rows[i].label;
        samples->unit = rows[i].unit;
    }
}

/* A row without a name is shown only by those that are compared with it. */
void fork_rows_report(ForkBench *bench) {
    BenchReport *report = bench->bench->report;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const ForkRow *row = &rows[i];
        const Samples *samples = &bench->samples[row->sample];
        if (samples->count == 0 || !row->name)
            continue;
        if (row->against == NONE)
            report_add_bound(report, samples, row->most);
        else
            report_add_ratio(report, samples, &bench->samples[row->against], row->most, 0);
    }
}
