/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LAUNCH_FIRMWARE_H
#define RAMET_RUN_LAUNCH_FIRMWARE_H

/* What a VM has whose disk brings its own boot loader: firmware, and the disk for cloud-init. */

#include "home/home.h"
#include "home/operation.h"
#include "run/launch_files.h"
#include "run/restore.h"
#include "store/vms.h"

/* Adds them to a plan that has its disks; nothing to do for VMs that a kernel of ours boots.
 * restore: NULL for a cold boot. dir_fd: the VM's folder. ERROR_UNSUPPORTED: it has further disks,
 * or there is no such firmware here. */
int launch_plan_firmware(const Home *home, Operation *operation, VmRow *row, const Restore *restore,
                         int dir_fd, LaunchFiles *files, Plan *plan, Error *error);

/* The keeper's bounds for such a VM, in place of those for others. */
void launch_firmware_bounds(const Home *home, Plan *plan);

#endif
