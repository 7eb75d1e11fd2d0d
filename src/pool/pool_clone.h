/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_POOL_CLONE_H
#define RAMET_POOL_POOL_CLONE_H

/* Warm clones. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* What a warm clone is taken to need before one was measured. */
#define POOL_CLONE_BYTES (24 * MIB)

typedef struct Clones {
    VmRow *rows; /* owned: all VMs, oldest first */
    size_t count;
} Clones;
void clones_free(Clones *clones);

/* Is it one of the snapshot's, and of no lab? */
bool clone_is_warm(const VmRow *row, const char *snapshot);

/* How many are warm of a snapshot, without those of labs, and what all warm ones hold in memory. */
uint64_t clones_count(const Clones *clones, const char *snapshot);
uint64_t clones_sum_bytes(const Clones *clones);

/* Makes a warm clone of a pinned snapshot; on failure nothing is left. */
int pool_make_clone(Home *home, const SnapshotRow *snapshot, int cancel_fd, Error *error);

/* Restores a VM that was just created, hidden, and has it wait to be claimed. keep: as Restore has
 * it. The caller removes it after a failure, and has it watched after success. */
int pool_make_warm(Home *home, Operation *operation, const SnapshotRow *snapshot, bool keep,
                   VmRow *row, Error *error);

/* Removes one, unless it is gone or was claimed meanwhile, which is success. */
int pool_remove_clone(Home *home, const char *id, int cancel_fd, Error *error);

/* Removes warm clones of a snapshot but for `keep`, the newest first. With the pools' lock. */
int pool_trim(Home *home, const char *snapshot, uint64_t keep, int cancel_fd, Error *error);

#endif
