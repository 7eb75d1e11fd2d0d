/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_SEED_WALK_H
#define RAMET_DISK_ROOTFS_SEED_WALK_H

#include "base/error.h"

/* What a folder looked like at one moment: sums for its file system, and of each entry enough to
 * tell whether it changed since. */
typedef struct SeedWalk {
    uint64_t bytes;  /* as the files say */
    uint64_t blocks; /* of 4 KiB, as if no file had holes */
    uint64_t entries;
    uint64_t sockets;
    uint64_t *stamps; /* owned: one for each entry, in the order of the walk */
    uint64_t room;
} SeedWalk;

void seed_walk_free(SeedWalk *walk);
#define _cleanup_seed_walk_ _cleanup_(seed_walk_free)

/* Fills one of zeroes. Everything below the folder counts, also what is mounted there. */
int seed_walk(const char *folder, SeedWalk *walk, Error *error);

/* Walks again: ERROR_CONFLICT, with the first name that is not as it was, when the folder changed.
 */
int seed_walk_compare(const char *folder, const SeedWalk *before, Error *error);

#endif
