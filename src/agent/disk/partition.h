/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_DISK_PARTITION_H
#define RAMET_AGENT_DISK_PARTITION_H

#include "agent/base/util.h"

/* In sectors of 512 bytes, as sysfs gives it for every block device. 0 or a negative errno. */
int device_sectors(dev_t device, uint64_t *sectors);

/* "/dev/vda1", as the kernel calls it. 0 or a negative errno. */
int device_path(dev_t device, char *path, size_t room);

/* Whether it is a partition of a disk that has room behind all of its partitions. */
bool partition_has_room(dev_t device);

/* Lets the partition, which may be in use, have that room. 0, or a negative errno and the result
 * says why not. */
int partition_extend(dev_t device, Result *result);

#endif
