/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_DISK_BLOCK_H
#define RAMET_AGENT_DISK_BLOCK_H

/* Block devices and what is on them. */

#include "agent/base/util.h"

/* "ext4", "btrfs", "xfs", "iso9660", "vfat", by the superblock: that is quicker than trying one
 * mount after the other, and says clearly when there is none. NULL: none that we know. */
const char *block_probe_type(const char *device);

/* The name of the disk with that serial ("vda"), as the kernel calls it. 0, -ENOENT or another
 * negative errno. */
int block_find_serial(const char *wanted, char *name, size_t room);

/* Takes all disks from their driver, with all that the kernel knows of them, and gives them back:
 * it then looks at them as if they had just come. */
void block_let_go(void);
void block_take_up(void);

/* Scheduling requests and holding back writers is for the host, which has the disk. */
void block_leave_scheduling_to_host(const char *disk);

/* Mounts it. 0, or -1 with errno. */
int block_mount(const char *device, const char *type, const char *folder, bool read_only);

#endif
