/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_PREPARED_H
#define RAMET_BENCH_FORK_PREPARED_H

/* VMs that wrote something before they are frozen or forked. */

#include "bench/fork_samples.h"

/* Boots and freezes what they are forks of, with memory enough for all of them. *name is the
 * caller's, also on failure, and may name a snapshot then. */
int fork_prepared_base(ForkBench *bench, char **name, Error *error);

/* A fork of the base that wrote so many random bytes and is idle: {"vms":[VM]}. */
int fork_prepared_vm(ForkBench *bench, const char *base, uint64_t bytes, json_t **answer,
                     Error *error);

/* The private memory of several idle clones: several, so that what they share counts as nobody's
 * own. */
int fork_sample_private(ForkBench *bench, const char *snapshot, ForkSample which, Error *error);

/* Freezes it; *usec is the client's time. */
int fork_prepared_freeze(ForkBench *bench, const json_t *vm, uint64_t *usec, json_t **snapshot,
                         Error *error);

#endif
