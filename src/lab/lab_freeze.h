/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_FREEZE_H
#define RAMET_LAB_LAB_FREEZE_H

/* A lab frozen at one moment. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/lab/lab_snapshots.h"
#include "store/lab/labs.h"
#include "store/snapshots.h"

/* Snapshots of all its VMs, of that purpose, and all else that copies of it are made of, in a row
 * that is not inserted yet. The snapshots are pinned: lab_unpin, once something needs them.
 * A VM that is stopped is so in copies.
 * ERROR_CONFLICT: a VM of it neither runs nor is stopped, or writes to a volume and no copies of
 * volumes are wanted. On failure none is left, and the lab runs
 * on. */
int lab_freeze(Home *home, Operation *operation, const char *reference, const char *purpose,
               bool clone_volumes, LabSnapshotRow *row, Error *error);

/* Pins the snapshots of one that is kept. ERROR_NOT_FOUND: it went meanwhile. */
int lab_pin(Home *home, const FrozenLab *lab, Error *error);
void lab_unpin(Home *home, const FrozenLab *lab);

/* The same of one that is not kept: its snapshots go once nothing grows from them. */
void lab_drop(Home *home, const FrozenLab *lab);

/* The snapshots of its VMs, in their order; the caller's (snapshot_rows_free, lab->n_vms). */
int lab_read_snapshots(Home *home, const FrozenLab *lab, SnapshotRow **rows, Error *error);

#endif
