/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_DISK_PARTITION_TABLE_H
#define RAMET_AGENT_DISK_PARTITION_TABLE_H

#include "agent/base/util.h"

/* Partition tables: the old kind ("MBR") with its chain of logical partitions, and GPT (UEFI
 * Specification 2.10, chapter 5). In sectors of 512 bytes. */

#define SECTOR_BYTES 512u

/* Lets the partition with that number and start reach to the end of the disk, when nothing comes
 * after it: in the table, which is written only when all of it is right. *size is the partition's
 * size then, the old one when there was nothing to gain. 0, or a negative errno and the result
 * says why not. */
int partition_table_extend(int fd, uint64_t disk_sectors, unsigned number, uint64_t start,
                           uint64_t *size, Result *result);

#endif
