/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_COPY_H
#define RAMET_LAB_LAB_COPY_H

/* One copy of a frozen lab, on its way. Its networks come first and pass no frames until all of its
 * VMs run, so that none of them speaks to one that is not there yet. It is made, or one that is
 * warm is claimed (pool/pool_lab.h), or it is made to be warm. */

#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "network/hold.h"
#include "store/lab/frozen_lab.h"
#include "store/lab/labs.h"
#include "store/snapshots.h"
#include "store/vms.h"

typedef struct LabCopy LabCopy;

typedef struct LabCopyVm {
    LabCopy *copy; /* borrowed */
    VmRow planned; /* owned */
    VmRow row;     /* owned: of a warm copy that was claimed, from the first step on */
    OpLock *lock;  /* owned */
    Operation operation;
    Error error;
    bool ready;
} LabCopyVm;

struct LabCopy {
    Home *home; /* borrowed */
    /* Hears of the stages of its VMs, from several threads, each with its VM's name; may be NULL */
    void (*on_event)(void *data, const json_t *event);
    void *data;                   /* borrowed, for on_event */
    const FrozenLab *frozen;      /* borrowed */
    const SnapshotRow *snapshots; /* borrowed: of its VMs, pinned */
    LabRow lab;                   /* owned: creating */
    OpLock *lock;                 /* owned */
    bool to_be_warm;              /* it is made ahead, for a pool */
    bool may_claim;               /* a warm one serves as well */
    bool claimed;                 /* it was warm */
    bool begun;                   /* its row is in the store */
    NetworkHolds holds;
    LabCopyVm *vms; /* owned: as many as the frozen lab has */
    Error error;    /* owned: of what is no VM's */
    bool kept;      /* it is whole */
};

/* Its name, and the lab's snapshot that it grows from ("": none is kept). */
void lab_copy_init(Home *home, const FrozenLab *frozen, const SnapshotRow *snapshots,
                   const char *name, const char *snapshot, LabCopy *copy);
void lab_copy_free(LabCopy *copy);

/* The steps, in order; after a failure, lab_copy_undo. begin: its row and its networks, which hold
 * all frames. vm: one of its VMs, by any thread; the operation is the request's, which is only
 * looked at. finish: all VMs are there: its networks go on, and everybody may see it. */
int lab_copy_begin(LabCopy *copy, const Operation *operation, Error *error);
int lab_copy_vm(LabCopy *copy, size_t index, const Operation *operation, Error *error);
int lab_copy_finish(LabCopy *copy, Error *error);

/* Takes back all that was made of it. */
void lab_copy_undo(LabCopy *copy);

#endif
