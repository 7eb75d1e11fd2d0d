/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LIMITS_ENFORCE_H
#define RAMET_LIMITS_ENFORCE_H

/* The limits of a VM's processes (keeper and QEMU), kept by the host's kernel: docs/limits.md.
 * Those of its disks are QEMU's own to keep. */

#include "home/home.h"
#include "store/vms.h"

/* Whether this host can keep them; nothing is made. Without limits that need the kernel it is
 * quick. ERROR_UNSUPPORTED, ERROR_PERMISSION, with a hint. */
int limits_check(Home *home, const VmLimits *limits, Error *error);

/* The processes of the VM get its limits, or lose those that it has no more: when it starts, before
 * its QEMU does anything, and whenever its limits change. A pid of 0 is none. */
int limits_enforce(Home *home, const VmRow *row, pid_t keeper, pid_t qemu, Error *error);

/* Its processes have ended: nothing stays. */
void limits_forget(Home *home, const VmRow *row);

/* What can be limited here, for people; the caller's. *all: all of it. */
char *limits_tell(const char *cgroup, bool *all);

#endif
