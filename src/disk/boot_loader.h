/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_BOOT_LOADER_H
#define RAMET_DISK_BOOT_LOADER_H

/* Whether a whole disk brings a boot loader, and for which firmware. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define BOOT_LOADER_PARTITIONS_MAX 16

typedef struct BootLoader {
    bool bios; /* code in the first sector, and a partition for what follows it, or an old table */
    bool uefi; /* an EFI system partition with a FAT in it */
    size_t n_partitions;
    uint64_t offsets[BOOT_LOADER_PARTITIONS_MAX]; /* where the first of them begin, in bytes */
} BootLoader;

/* Looks at a raw disk. Neither for one without partitions. ERROR_CORRUPT: its partition table is
 * damaged, and so is its second copy, or there is no UEFI that looks at that. ERROR_UNSUPPORTED:
 * its sectors are larger than ours. */
int boot_loader_find(int fd, BootLoader *loader, Error *error);

#endif
