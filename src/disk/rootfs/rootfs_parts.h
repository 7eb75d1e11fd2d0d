/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_ROOTFS_PARTS_H
#define RAMET_DISK_ROOTFS_ROOTFS_PARTS_H

/* Parts of rootfs.c. */

#include <stdio.h>

#include "base/error.h"

/* Lines for debugfs that complete the times of what mke2fs copied from the folder, and how many. */
int rootfs_write_times(const char *folder, FILE *script, size_t *n_lines, Error *error);

/* ERROR_CORRUPT when the root of a system is not the folder, but one in it. */
int rootfs_check_root(const char *folder, Error *error);

#endif
