/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_CLONE_H
#define RAMET_MACHINE_CLONE_H

/* VMs that grow from a snapshot. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "run/launch.h"
#include "run/restore.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* A clone that keeps who it is, to all that are in its networks: names, addresses and keys are its
 * source's. Its networks are copies of its source's. */
typedef struct CloneKeep {
    const char *lab;        /* borrowed: the id of the lab that it is of */
    const char *hostname;   /* borrowed */
    const char *machine_id; /* borrowed */
    const VmCards *cards;   /* borrowed: the copies, with addresses as in its source's networks */
} CloneKeep;

/* What a clone has otherwise than its source; 0 and NULL: as the source, but for forwards and host
 * name, which no clone has of its source. Memory and CPUs can be chosen where the snapshot has no
 * memory; no more cards than that memory knows, and the user-mode network only where it was. */
typedef struct CloneShape {
    uint64_t disk_bytes;
    uint64_t memory_bytes;
    unsigned cpus;
    const char *network;    /* borrowed; the only one. Or: */
    const json_t *networks; /* borrowed; as vm_cards_parse() wants them */
    const char *hostname;   /* borrowed; for a single clone */
    const json_t *forwards; /* borrowed; host port 0: any free one, and the only one for several */
    const json_t *labels;   /* borrowed: added to the source's */
    const json_t *policy;   /* borrowed; as vm_policy_parse() wants it; NULL: none */
    const json_t *limits;   /* borrowed; as vm_limits_parse() wants it, over the source's */
    const VmMount *config;  /* borrowed: its config disk */
    const CloneKeep *keep;  /* borrowed; NULL: it is somebody else, in its source's networks */
} CloneShape;

/* The row of a VM that grows from a pinned snapshot, not inserted yet (vm_create_planned does). Its
 * specification is that of the snapshot's VM, without forwards and host name, changed by the shape.
 * ERROR_USAGE for a shape that the snapshot
 * cannot take; ERROR_CONFLICT for a host port that is taken. shape may be NULL. */
int clone_plan(const SnapshotRow *snapshot, const char *name, const CloneShape *shape, VmRow *row,
               Error *error);

/* Restores a VM that does not run, once there is a start slot for it. The row is still what it was
 * but for the run's facts; the caller sets its state. On failure no process is left. */
int clone_restore(Home *home, Operation *operation, VmRow *row, const Restore *restore,
                  int cancel_fd, Error *error);

#endif
