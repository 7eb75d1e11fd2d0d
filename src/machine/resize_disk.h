/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_RESIZE_DISK_H
#define RAMET_MACHINE_RESIZE_DISK_H

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* Lets a restored guest see and use a disk larger than the snapshot's. */
int vm_resize_disk(Home *home, Operation *operation, VmRow *row, const SnapshotRow *snapshot,
                   Error *error);

#endif
