/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_CREATE_H
#define RAMET_MACHINE_SNAPSHOT_CREATE_H

/* Taking a snapshot. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "machine/snapshot/snapshot_options.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* For a caller that holds the VM's lock. The row is the caller's, and an automatic snapshot comes
 * pinned (the caller makes something need it, and unpins it). With standby the VM is paused in the
 * end, and a failure may have left it paused. */
int snapshot_create_locked(Home *home, Operation *operation, VmRow *vm,
                           const SnapshotOptions *options, SnapshotRow *row, Error *error);

#endif
