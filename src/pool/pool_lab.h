/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_POOL_LAB_H
#define RAMET_POOL_POOL_LAB_H

/* Pools of whole copies of a lab that was frozen. Such a copy is a lab's row in the state "warm",
 * which nobody sees, with networks of its own, and with VMs that are warm; it is claimed as a whole
 * (lab/lab_copy.h). What makes and removes copies lies above, and is told to the home. */

#include "base/error.h"
#include "home/home.h"
#include "store/lab/lab_snapshots.h"
#include "store/lab/labs.h"
#include "store/pools.h"
#include "store/vms.h"

#define POOL_LAB "lab"

typedef struct WarmLabs {
    /* One copy more; on failure nothing is left. */
    int (*make)(Home *home, const LabSnapshotRow *snapshot, int cancel_fd, Error *error);
    /* One that labs_take_warm gave. */
    int (*remove)(Home *home, const LabRow *lab, Error *error);
} WarmLabs;

/* Before pools_start; labs: static. */
void pool_lab_register(Home *home, const WarmLabs *labs);

/* Fills in of what the pool is, if there is such a snapshot of a lab. ERROR_NOT_FOUND. */
int pool_lab_find(Home *home, const char *source, PoolRow *pool, Error *error);

/* So many VMs a copy of the pool's has; 1 for a pool of another kind. */
uint64_t pool_vms_each(Home *home, const PoolRow *pool);

/* Of the rows of all VMs: how many copies of the lab's snapshot (an id) are warm as a whole, and
 * what they hold in memory (bytes may be NULL). */
uint64_t pool_lab_count(Home *home, const VmRow *vms, size_t n_vms, const char *snapshot,
                        uint64_t *bytes);

/* Removes copies of a lab's snapshot (an id) but for `keep`, the newest first; of more than that,
 * when they are warm no longer as a whole. With the pools' lock. 1: one was there to be removed. */
int pool_lab_trim(Home *home, const char *snapshot, uint64_t keep, Error *error);

/* Copies of no pool, and those of which a VM ended. 1: something was done. */
int pool_lab_remove_strays(Home *home, const PoolRow *pools, size_t count);

#endif
