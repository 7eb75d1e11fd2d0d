/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_ROOTFS_H
#define RAMET_DISK_ROOTFS_ROOTFS_H

/* Root file systems to ext4 disks: a tar is unpacked into scratch, a folder becomes a sparse raw
 * file by `mke2fs -d`. Not as root,
 * owners and devices are handed to mke2fs through fakeroot(1); without it that is
 * ERROR_UNSUPPORTED. */

#include "disk/extract.h"

typedef struct RootfsOptions {
    const char *output_path;    /* raw file; is truncated (a publish's scratch) */
    const char *scratch_folder; /* $RAMET_HOME/tmp */
    uint64_t size_bytes;        /* of the disk; 0: content + 25 % + 64 MiB */
    uint64_t max_bytes;         /* bound on what a tar unpacks to; 0: the free room */
    uint64_t max_entries;       /* 0: 4 million */
    const char *label;          /* NULL: "root" */
    const char *uuid;           /* also the seed of the folders' hashes; NULL: random */
    uint64_t
        epoch_sec; /* not 0: all times in the file system are this, so that the same folder gives
                    * the same bytes (on one host: entries are in the order of its readdir) */
    const char *expected_sha256; /* of a tar's bytes; NULL: not checked */
    ExtractProgress progress;    /* may be NULL */
    void *progress_data;
    int cancel_fd; /* -1: none */
} RootfsOptions;

typedef struct RootfsResult {
    uint64_t virtual_bytes;
    uint64_t content_bytes; /* sum of the files' sizes */
    uint64_t entries;
    char source_sha256[SHA256_HEX_SIZE]; /* of the tar; empty for a folder */
} RootfsResult;

/* Entries that lead out of the root ("../", links through links) and damaged archives are
 * ERROR_CORRUPT and name the entry; too much is ERROR_CORRUPT (a bomb) or ERROR_NO_SPACE. A leading
 * "/" is refused as well. */
int rootfs_tar_to_ext4(ExtractSource *source, const RootfsOptions *options, RootfsResult *result,
                       Error *error);

/* The folder's content becomes the root of a new ext4. Every complaint of mke2fs is an error. */
int rootfs_folder_to_ext4(const char *folder, const RootfsOptions *options, RootfsResult *result,
                          Error *error);

/* An ext4 of options->size_bytes, which must not be 0, without content. */
int rootfs_make_empty(const RootfsOptions *options, uint64_t inodes, Error *error);

#endif
