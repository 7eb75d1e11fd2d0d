/* SPDX-License-Identifier: Apache-2.0 */

/* Which figure stands beside which, and what was asked of it. */

#include "base/str.h"
#include "bench/fork.h"

#define NONE FORK_SAMPLES

typedef struct ForkRow {
    ForkSample sample;
    const char *name;
    const char *unit;
    const char *label;  /* for rows that others are compared with */
    ForkSample against; /* NONE: nothing */
    double most;        /* ratio to `against`, or a bound where there is none; 0: nothing asked */
} ForkRow;

static const ForkRow rows[] = {
    {YARDSTICK, "F: QEMU's exec to its greeting", "us", "F", NONE, 0},
    {FORK_RESTORED, "fork: restored", "us", NULL, YARDSTICK, 1.3},
    {FORK_ANSWER, "fork: first answer", "us", NULL, YARDSTICK, 1.7},
    {FORK_READY, "fork: ready with identity", "us", NULL, YARDSTICK, 2},
    {FORK_CLIENT, "fork: the client's whole call", "us", NULL, YARDSTICK, 0},
    {CLAIM_ANSWER, "claim: first answer", "us", NULL, YARDSTICK, 0.15},
    {CLAIM_READY, "claim: ready with identity", "us", NULL, YARDSTICK, 0.3},
    {CLAIM_CLIENT, "claim: the client's whole call", "us", NULL, YARDSTICK, 0},
    {RUN_COLD, "run --rm --cold IMAGE -- true", "us", "cold", NONE, 0},
    {RUN_CACHE, "run --rm IMAGE -- true, cache warm", "us", NULL, RUN_COLD, 0.1},
    {RUN_POOL, "run --rm IMAGE -- true, with a pool", "us", NULL, RUN_COLD, 0.02},
    {PAUSE_YARDSTICK, NULL, "us", "F", NONE, 0},
    {PAUSE, "pause of a clone with 8 MiB dirty", "us", NULL, PAUSE_YARDSTICK, 0.5},
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
    {SIXTEEN_YARDSTICK, NULL, "us", "F", NONE, 0},
    {SIXTEEN, "16 forks at once, all ready", "us", NULL, SIXTEEN_YARDSTICK, 16 * 1.2},
    {COLD_RAMET, "cold boot to ready", "us", NULL, YARDSTICK, 0},
    {COLD_PLAIN, "plain QEMU's boot to the agent's answer", "us", NULL, YARDSTICK, 0},
    {MIGRATE_SAVE, "QEMU migrate to a file", "us", NULL, YARDSTICK, 0},
    {MIGRATE_RESTORE, "QEMU from that file to the first answer", "us", NULL, YARDSTICK, 0},
    {LIBVIRT_SAVE, "virsh save", "us", NULL, YARDSTICK, 0},
    {LIBVIRT_RESTORE, "virsh restore to the first answer", "us", NULL, YARDSTICK, 0},
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
