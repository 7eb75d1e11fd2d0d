/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_ARGV_H
#define RAMET_QEMU_ARGV_H

/* QEMU's command line. QEMU opens none of our paths: disks come as descriptor sets, memory, kernel
 * and initramfs as /proc/self/fd/N, the monitor, the agent's channel and the console as sockets. */

#include "base/str.h"
#include "proto/plan.h"

/* The name of what is behind network card `card`, for QMP commands: "net0". */
#define QEMU_NETDEV_NAME_SIZE 16
void qemu_netdev(size_t card, char name[QEMU_NETDEV_NAME_SIZE]);

/* Where the guest's memory stops below 4 GiB; what is more of it goes on there. */
uint64_t qemu_memory_hole(const Plan *plan);

/* Connected stream sockets, by their numbers in QEMU. */
typedef struct QemuSockets {
    int qmp;
    int agent;
    int console; /* -1: no serial console. Also a snapshot's device list depends on it */
} QemuSockets;

/* Appends the whole command line, argv[0] included. In this plan, which was checked when it was
 * read, descriptors are numbers in QEMU and no indexes: 3 or above, without FD_CLOEXEC.
 * ERROR_USAGE for a machine or accelerator that is not known. */
int qemu_build_argv(const Plan *plan, const QemuSockets *sockets, StrList *argv, Error *error);

/* The node of layer `layer` (0: overlay) of disk `disk`, for blockdev commands: "disk0-0"; and the
 * descriptor set that its file is opened from. Sets that are added later over QMP must use other
 * numbers: QEMU_FDSET_FREE and above are never used here. */
#define QEMU_NODE_NAME_SIZE 32
void qemu_disk_node(size_t disk, size_t layer, char name[QEMU_NODE_NAME_SIZE]);
unsigned qemu_disk_fdset(size_t disk, size_t layer);
#define QEMU_FDSET_FREE 1000u

#endif
