/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_BOOT_CACHE_H
#define RAMET_POOL_BOOT_CACHE_H

/* Snapshots of VMs just booted, from which the first start of a VM is forked. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* The snapshot from which the first start of this VM (planned, or made and never started) may be
 * forked; it is prepared when there is none, by one caller while others wait. 1: *snapshot, pinned.
 * 0: boot cold; when the reason is a failure, it was told, and *failure (the caller's) has it as
 * JSON. Negative: the start cannot go on (cancelled, no room, the image does not boot). */
int boot_cache_open(Home *home, Operation *operation, VmRow *row, SnapshotRow *snapshot,
                    json_t **failure, Error *error);

/* The same for who cannot do without: it is prepared though the boot cache is off, and a failure is
 * the caller's. *snapshot is pinned. */
int boot_cache_ensure(Home *home, Operation *operation, VmRow *row, SnapshotRow *snapshot,
                      Error *error);

/* 1: there is an entry from which this VM would be forked; 0: there is none. */
int boot_cache_has(Home *home, Operation *operation, VmRow *row, Error *error);

/* Makes what a running VM is now, whose lock the caller has, the entry from which VMs like `row`
 * (planned) are forked. Its disk may stand on another base than theirs. */
int boot_cache_add(Home *home, Operation *operation, VmRow *row, VmRow *vm, Error *error);

/* A restore from it failed: it is not found any more, and goes once nothing grows from it. */
void boot_cache_discard(Home *home, const SnapshotRow *snapshot);

/* Removes all entries of the image from which nothing grows. */
void boot_cache_prune(Home *home, const char *image_digest);

/* At the daemon's start: entries of images that are gone. */
void boot_cache_reconcile(Home *home);

/* Is a failure of a restore one that a cold boot may mend? Others are the request's own. */
bool boot_cache_may_fall_back(const Error *error);

#endif
