/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_POOL_CLAIM_H
#define RAMET_POOL_POOL_CLAIM_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* Lets a warm clone of the pinned snapshot become the VM that was planned: name, image,
 * specification. 1: the row (still `creating`; the caller sets its state) and its lock. 0: there is
 * none, or the one that there was failed, which was told and is in *failure (the caller's; freed
 * first). Negative: the request itself cannot be served (name or port taken, cancelled). The caller
 * calls pools_kick once it has served its client: a refill beside that would make it late. */
int pool_claim(Home *home, Operation *operation, const SnapshotRow *snapshot, const VmRow *planned,
               OpLock **lock, VmRow *row, json_t **failure, Error *error);

/* The same for one row that was chosen already, with its lock: on failure it is half claimed, and
 * the caller removes it. keep: as Restore has it. */
int pool_claim_row(Home *home, Operation *operation, const VmRow *planned, bool keep, VmRow *row,
                   Error *error);

#endif
