/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_BOOT_LOADER_H
#define RAMET_DISK_BOOT_LOADER_H

/* Whether a whole disk brings a boot loader, and for which firmware. */

#include <stdbool.h>

#include "base/error.h"

typedef struct BootLoader {
    bool bios; /* code in the first sector, and a partition for what follows it, or an old table */
    bool uefi; /* an EFI system partition with a FAT in it */
} BootLoader;

/* Looks at a raw disk. Neither for one without partitions. ERROR_CORRUPT: its partition table is
 * damaged, and so is its second copy. */
int boot_loader_find(int fd, BootLoader *loader, Error *error);

#endif
