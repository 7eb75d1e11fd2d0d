/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_GROUP_H
#define RAMET_MACHINE_SNAPSHOT_GROUP_H

/* Snapshots of several running VMs at one moment: all of them stand still at the same time, and
 * what they had sent to each other by then, and nobody had received, goes to them when they run on,
 * and never to their clones. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define SNAPSHOT_GROUP_MAX 256

typedef struct SnapshotGroupTimes {
    uint64_t spread_us; /* from the first VM that stood still to the last */
    uint64_t held_us;   /* so long their networks passed no frames */
} SnapshotGroupTimes;

/* clone_volumes: as SnapshotOptions have it. For a caller that holds the locks of all of them.
 * rows: as many, the caller's, each an automatic snapshot of that purpose, pinned. All or none: on
 * failure no snapshot is left, and the VMs run on. ERROR_CONFLICT: one of them does not run. */
int snapshot_group_create(Home *home, Operation *operation, VmRow *vms, size_t count,
                          const char *purpose, bool clone_volumes, SnapshotRow *rows,
                          SnapshotGroupTimes *times, Error *error);

#endif
