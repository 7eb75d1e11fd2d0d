/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LAUNCH_DISKS_H
#define RAMET_RUN_LAUNCH_DISKS_H

#include "base/str.h"
#include "home/home.h"
#include "run/launch_files.h"
#include "store/vms.h"

/* All disks of a VM, for the plan, and their open files. dir_fd: its folder. restores: what is on
 * a volume must be what the memory to come has of it. ERROR_CONFLICT for a volume in use. */
int launch_plan_disks(Home *home, const VmRow *row, int dir_fd, LaunchFiles *files, Plan *plan,
                      bool restores, Error *error);

/* What the guest's kernel is told of the disks beside the root (agent/disk/disks.c): "
 * ramet.mount=…" for each. */
void launch_add_mounts(const VmRow *row, StrBuf *cmdline);

/* The same for a guest whose kernel's command line is its own: what stands behind "=", a line for
 * each. ERROR_USAGE: there is no room. */
int launch_mount_lines(const VmRow *row, char *lines, size_t room, Error *error);

#endif
