/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_GUESTS_H
#define RAMET_BENCH_FORK_GUESTS_H

/* Calls that make clones and what they grow from. */

#include "bench/fork_samples.h"

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

/* Runs a script of the shell in a VM; what it prints is not kept. A status other than 0 is an
 * error.
 */
int fork_exec(ForkBench *bench, const json_t *vm, const char *script, Error *error);

/* Writes random bytes into a clone's memory. */
int fork_dirty(ForkBench *bench, const json_t *vm, uint64_t bytes, Error *error);

/* Forks one clone, adds the time until it was ready, from the request's arrival, and removes it.
 * FORK_SAMPLES: the time does not count. */
int fork_sample_ready(ForkBench *bench, const char *source, ForkSample which, Error *error);

#endif
