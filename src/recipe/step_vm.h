/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_STEP_VM_H
#define RAMET_RECIPE_STEP_VM_H

/* The VM in which a step of a recipe is done: a fork that nobody sees. A daemon that dies leaves it
 * to the next one, which removes it as it does the boot cache's. */

#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/snapshots.h"
#include "store/vms.h"

typedef struct StepVm {
    OpLock *lock; /* owned */
    VmRow row;    /* owned */
} StepVm;

typedef struct StepVmOptions {
    const char *name;       /* borrowed; NULL: one is made up */
    const char *network;    /* borrowed: "user" or "none" */
    const StrList *env;     /* borrowed: "K=V" */
    uint64_t disk_bytes;    /* 0: as it is */
    const json_t *settings; /* borrowed: it is run so, as a VM of the image; NULL: as its base */
} StepVmOptions;

/* Forks a snapshot, which must be pinned. It is ready then. */
int step_vm_fork(Home *home, Operation *operation, const SnapshotRow *from,
                 const StepVmOptions *options, StepVm *vm, Error *error);

/* What it has become, as an automatic snapshot with that purpose and key; pinned. */
int step_vm_freeze(Home *home, Operation *operation, StepVm *vm, const char *purpose,
                   const char *key, SnapshotRow *snapshot, Error *error);

/* It is a VM like any other from now on. */
int step_vm_keep(Home *home, StepVm *vm, Error *error);

/* Removes it, if it is there and was not kept, and frees what it holds. */
void step_vm_remove(Home *home, StepVm *vm);

#endif
