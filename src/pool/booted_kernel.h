/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_BOOTED_KERNEL_H
#define RAMET_POOL_BOOTED_KERNEL_H

/* A kernel that was booted once, and from which VMs of any image with that kernel go on. */

#include "base/error.h"
#include "frozen/snapshot_key.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* Boots a VM that was just made, whose lock the caller has, from a booted kernel, which is made
 * when there is none; cold where that cannot be, and the log and the client hear why. facts: of the
 * VM. */
int booted_kernel_boot(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                       const SnapshotFacts *facts, Error *error);

/* Is this failure one that a cold boot may mend? Not where who waits went away, nor where it lacks
 * the same. What else fails has nothing to do with who asked: the hidden VM is nobody's. */
bool booted_kernel_may_boot_cold(const Error *trouble);

/* Is it one, by its row? */
bool snapshot_is_booted_kernel(const SnapshotRow *row);

#endif
