/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_SEED_INODES_H
#define RAMET_DISK_ROOTFS_SEED_INODES_H

#include "base/error.h"

/* Completes what `mke2fs -d` made of a folder: times whole (with nanoseconds, after 2038, too), the
 * same for all four of a file, so that the same folder gives the same bytes; and owner and mode of
 * the top; and takes away lost+found, unless the folder has one. ERROR_CONFLICT when something is
 * gone from the folder. */
int seed_complete_inodes(const char *folder, const char *image, uint64_t epoch_sec, Error *error);

/* Takes lost+found out of an empty file system. */
int seed_complete_empty(const char *image, Error *error);

#endif
