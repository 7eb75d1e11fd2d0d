/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_SEED_H
#define RAMET_DISK_ROOTFS_SEED_H

/* A folder to an ext4 disk as it is: owners, modes, times, links, devices and extended attributes,
 * the folder's own, too. The same folder gives the same bytes. Needs no right but to read it (to
 * copy devices takes none either). */

#include "base/error.h"

typedef struct SeedBuild {
    const char *folder;      /* absolute */
    const char *output_path; /* an empty file */
    uint64_t size_bytes;     /* of the disk; 0: content + 25 % + 64 MiB */
    int cancel_fd;           /* -1: none */
} SeedBuild;

typedef struct SeedResult {
    uint64_t virtual_bytes;
    uint64_t content_bytes; /* sum of the files' sizes */
    uint64_t entries;
    uint64_t sockets; /* which are in it, but nobody listens at them */
} SeedResult;

/* ERROR_CONFLICT when the folder changed while it was read, which names what; ERROR_NO_SPACE. */
int seed_from_folder(const SeedBuild *build, SeedResult *result, Error *error);

/* An empty ext4, of that size: the file is truncated to it. The top belongs to root. */
int seed_make_empty(const char *output_path, uint64_t bytes, const char *label, int cancel_fd,
                    Error *error);

#endif
