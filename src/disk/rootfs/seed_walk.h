/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_SEED_WALK_H
#define RAMET_DISK_ROOTFS_SEED_WALK_H

#include <sys/stat.h>

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

/* Calls `each` for the folder itself and all below it, a folder before what is in it, links as
 * themselves: path is where it is, name how it is called within the folder ("" for that). What
 * `each` returns below 0 ends it. */
int seed_walk_each(const char *folder,
                   int (*each)(void *data, const char *path, const char *name,
                               const struct stat *info, Error *error),
                   void *data, Error *error);

/* Walks again: ERROR_CONFLICT, with the first name that is not as it was, when the folder changed.
 */
int seed_walk_compare(const char *folder, const SeedWalk *before, Error *error);

#endif
