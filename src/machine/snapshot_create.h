/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_CREATE_H
#define RAMET_MACHINE_SNAPSHOT_CREATE_H

/* Taking a snapshot. */

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "machine/meeting.h"
#include "store/snapshots.h"
#include "store/vms.h"

typedef struct SnapshotOptions {
    const char *name;    /* borrowed; NULL: none */
    const char *purpose; /* borrowed; NULL: a user's own, else automatic */
    const char *key;     /* borrowed; NULL: made of the facts */
    bool standby;        /* the VM stays paused and keeps its overlay */
    bool compress;       /* its memory is stored compressed */
    bool scheduled;      /* of the VM's schedule, which removes it later */
    bool adopt;          /* the VM may map its memory afterwards: vm_adopt_later */
    bool root_only;      /* it is for its root disk, and nobody forks it */
    bool clone_volumes;  /* copies of those that it writes to; else such a VM is refused */
    Meeting *meeting;    /* borrowed: it is saved together with others; NULL: alone */
} SnapshotOptions;

/* For a caller that holds the VM's lock. The row is the caller's, and an automatic snapshot comes
 * pinned (the caller makes something need it, and unpins it). With standby the VM is paused in the
 * end, and a failure may have left it paused. */
int snapshot_create_locked(Home *home, Operation *operation, VmRow *vm,
                           const SnapshotOptions *options, SnapshotRow *row, Error *error);

#endif
