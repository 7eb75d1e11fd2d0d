/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_NICE_H
#define RAMET_RUN_NICE_H

#include "base/process/process.h"
#include "store/vms.h"

/* The priority of a keeper and all that it started (setpriority(2)), where we may
 * (priority_may_raise), else nothing. */
#define NICE_STARTING (-10)
#define NICE_BACKGROUND 10
#define NICE_RUNNING 0
void vm_set_nice(const VmRow *row, const ProcessIdentity *keeper, int nice);

/* Has the keeper and the main thread of QEMU go before the VM's virtual CPUs (priority_set_hasty),
 * where we may: for as long as these spin in a guest's agent that waits. */
void vm_set_hasty(const VmRow *row, bool hasty);

#endif
