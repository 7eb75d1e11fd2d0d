/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_H
#define RAMET_BENCH_FORK_H

/* What the parts of `ramet bench fork` share: the samples, and the calls that make clones. */

#include "bench/boot_files.h"
#include "bench/picture.h"

typedef enum ForkSample {
    YARDSTICK,
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
    PAUSE_YARDSTICK, /* F again, in turn with what it is compared with */
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
    SIXTEEN_YARDSTICK,
    SIXTEEN,
    COLD_RAMET,
    COLD_PLAIN,
    MIGRATE_SAVE,
    MIGRATE_RESTORE,
    LIBVIRT_SAVE,
    LIBVIRT_RESTORE,
    FORK_SAMPLES,
} ForkSample;

typedef struct ForkBench {
    Bench *bench; /* borrowed */
    BootFiles files;
    char *snapshot; /* owned: what most forks grow from */
    Samples samples[FORK_SAMPLES];
    json_t *starts[FORK_SAMPLES]; /* owned: stages of each start, beside FORK_READY and so on */
} ForkBench;

/* Adds one figure. */
void fork_sample(ForkBench *bench, ForkSample which, double value);

/* Adds one F. */
int fork_sample_yardstick(ForkBench *bench, ForkSample which, Error *error);

/* Forks one clone, adds the time until it was ready, from the request's arrival, and removes it.
 * FORK_SAMPLES: the time does not count. */
int fork_sample_ready(ForkBench *bench, const char *source, ForkSample which, Error *error);

/* How often what takes seconds is measured: `most` times, or less when fewer rounds are wanted. */
size_t fork_slow_runs(const ForkBench *bench, size_t most);

/* --- the parts: each adds its figures; one that fails does not stop the others ------------------
 */

int fork_bench_starts(ForkBench *bench, Error *error);      /* fork_starts.c: F, forks, claims */
int fork_bench_sixteen(ForkBench *bench, Error *error);     /* fork_starts.c */
int fork_bench_runs(ForkBench *bench, Error *error);        /* fork_runs.c: cold, cache, pool */
int fork_bench_pauses(ForkBench *bench, Error *error);      /* fork_frozen.c */
int fork_bench_memory(ForkBench *bench, Error *error);      /* fork_memory.c */
int fork_bench_generations(ForkBench *bench, Error *error); /* fork_scale.c */
int fork_bench_sizes(ForkBench *bench, Error *error);       /* fork_scale.c */
int fork_bench_crowd(ForkBench *bench, Error *error);       /* fork_scale.c */
int fork_bench_stock(ForkBench *bench, Error *error);       /* fork_stock.c */

/* --- fork_rows.c: what was asked --------------------------------------------------------------
 */

/* Gives all samples their names and units. */
void fork_rows_name(ForkBench *bench);

/* Adds those that were measured to the report. */
void fork_rows_report(ForkBench *bench);

/* --- fork_picture.c -----------------------------------------------------------------------------
 */

/* Remembers the stages of a start whose time is a sample of `which`. */
void fork_keep_start(ForkBench *bench, ForkSample which, const json_t *vm);

/* Adds the stages of the starts nearest to the medians to the report, and draws them if asked. */
int fork_picture(ForkBench *bench, Error *error);

/* --- fork_guests.c ------------------------------------------------------------------------------
 */

/* A VM of the image, booted. */
int fork_vm_cold(ForkBench *bench, uint64_t memory_bytes, json_t **vm, Error *error);

/* Freezes the VM; the snapshot as JSON. */
int fork_freeze(ForkBench *bench, const json_t *vm, const char *name, json_t **snapshot,
                Error *error);

/* Boots a VM, freezes it under the name and removes it. */
int fork_freeze_new(ForkBench *bench, uint64_t memory_bytes, const char *name, Error *error);

/* Forks `count` clones of a snapshot or VM: {"vms":[…]}; *usec (may be NULL) is the client's time.
 */
int fork_make(ForkBench *bench, const char *source, unsigned count, json_t **answer, uint64_t *usec,
              Error *error);
const json_t *fork_first(const json_t *answer); /* borrowed */
int fork_remove_all(ForkBench *bench, const json_t *answer, Error *error);

/* The snapshot and all that grows from it. */
int fork_snapshot_remove(ForkBench *bench, const char *snapshot, Error *error);

/* Keeps `count` clones of the source warm, and waits until they are. 0: none, and none is being
 * made any more. */
int fork_pool(ForkBench *bench, const char *source, unsigned count, Error *error);

/* The end of a stage of a VM's start, from the request's arrival; 0: it has none of that name. */
double fork_stage_end(const json_t *vm, const char *stage);

/* The end of the last one: ready. */
double fork_ready_usec(const json_t *vm);

/* Writes random bytes into a clone's memory. */
int fork_dirty(ForkBench *bench, const json_t *vm, uint64_t bytes, Error *error);

/* --- fork_memory.c ------------------------------------------------------------------------------
 */

/* Waits until all clones of the answer have done what comes after a start. Those that go on are
 * left to it after half a minute. */
int fork_wait_idle(const json_t *answer, Error *error);

/* --- libvirt.c ----------------------------------------------------------------------------------
 */

/* `virsh save`, and `virsh restore` until the agent answers, of the same machine.
 * ERROR_UNSUPPORTED and a reason when libvirt is not here. */
int libvirt_measure(const PlainBoot *boot, size_t runs, Samples *save, Samples *restore,
                    Error *error);

#endif
