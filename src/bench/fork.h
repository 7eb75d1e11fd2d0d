/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_H
#define RAMET_BENCH_FORK_H

/* What the parts of `ramet bench fork` share: the samples, and the calls that make clones. */

#include "bench/boot_files.h"

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

/* --- fork_guests.c ------------------------------------------------------------------------------
 */

/* A VM of the image, booted. */
int fork_vm_cold(ForkBench *bench, uint64_t memory_bytes, json_t **vm, Error *error);

/* Freezes the VM; the snapshot as JSON. */
int fork_freeze(ForkBench *bench, const json_t *vm, const char *name, json_t **snapshot,
                Error *error);

/* Forks `count` clones of a snapshot or VM: {"vms":[…]}; *usec (may be NULL) is the client's time.
 */
int fork_make(ForkBench *bench, const char *source, unsigned count, json_t **answer, uint64_t *usec,
              Error *error);
int fork_remove_all(ForkBench *bench, const json_t *answer, Error *error);

/* The snapshot and all that grows from it. */
int fork_snapshot_remove(ForkBench *bench, const char *snapshot, Error *error);

/* fork_make of one, and its removal. *usec: the client's time. */
int fork_time_one(ForkBench *bench, const char *source, uint64_t *usec, Error *error);

/* The end of a stage of a VM's start, from the request's arrival; 0: it has none of that name. */
double fork_stage_end(const json_t *vm, const char *stage);

/* Writes random bytes into a clone's memory. */
int fork_dirty(ForkBench *bench, const json_t *vm, uint64_t bytes, Error *error);

/* Private and proportional memory of QEMU and keeper together (smaps_rollup, proc(5)). */
int fork_memory(const json_t *vm, double *private_bytes, double *pss_bytes, Error *error);

/* --- libvirt.c ----------------------------------------------------------------------------------
 */

/* `virsh save` and `virsh restore` of the same machine. A negative errno and a reason when libvirt
 * is not here or does not run. */
int libvirt_measure(const PlainBoot *boot, size_t runs, Samples *save, Samples *restore,
                    Error *error);

#endif
