/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_SNAPSHOT_KEY_H
#define RAMET_FROZEN_SNAPSHOT_KEY_H

#include "base/error.h"
#include "qemu/features.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* What a VM with these cards (network_device_of) and disks (of SnapshotFacts; NULL: the root alone)
 * boots on, by that kernel or firmware. Static string. */
const char *snapshot_machine_options(const char *network, const char *disks, const char *kernel_key,
                                     const char *accel);

/* All that a restore depends on: accelerator, QEMU, machine, CPU, sizes, devices, in place of what
 * *facts had. image and kernel: of the VM. */
void snapshot_facts(const QemuFeatures *features, const char *accel, const VmRow *vm,
                    SnapshotFacts *facts);
void snapshot_key(const SnapshotFacts *facts, char key[65]);

/* What the facts have of such disks, "seed-1=tree1:HEX,1073741824,/root\n", a line for each; NULL:
 * none. The caller owns it. */
char *snapshot_disks(const VmMounts *mounts);

/* What its state has of its VM's networks (frozen/network_device.h). Borrowed from the row. */
const char *snapshot_network(const SnapshotRow *row);

/* ERROR_UNSUPPORTED when this host cannot restore it: "made by QEMU X, this is Y". */
int snapshot_check_host(const SnapshotRow *row, const QemuFeatures *features, const char *accel,
                        Error *error);

#endif
