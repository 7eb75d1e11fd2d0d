/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_CHAIN_H
#define RAMET_BENCH_FORK_CHAIN_H

#include "bench/fork_samples.h"

typedef struct ForkChain {
    char *first, *last; /* owned: identifiers of snapshots; NULL: none was made */
} ForkChain;

/* Grows `count` snapshots from `root`, each of a fork of the one before that wrote so many bytes.
 * What was made when it fails is in the chain all the same; fork_chain_remove takes it back. */
int fork_chain_make(ForkBench *bench, const char *root, size_t count, uint64_t bytes,
                    ForkChain *chain, Error *error);

/* Removes the chain's snapshots and all that grows from them, and frees the chain. */
int fork_chain_remove(ForkBench *bench, ForkChain *chain, Error *error);

#endif
