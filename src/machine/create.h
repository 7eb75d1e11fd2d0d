/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_CREATE_H
#define RAMET_MACHINE_CREATE_H

#include "base/error.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/spec.h"
#include "store/vms.h"

/* For callers that hold the lock. */
typedef enum CreateKind {
    CREATE_ONLY,       /* `create`: the VM is `created` */
    CREATE_TO_RUN,     /* `run`: it stays `creating`, hidden, until its start begins */
    CREATE_FOR_CLIENT, /* the same, and it belongs to the client whose stream follows */
} CreateKind;

/* Makes the VM; the lock and the row are the caller's. */
int vm_create_locked(Home *home, Operation *operation, const VmSpec *spec, CreateKind kind,
                     OpLock **lock, VmRow *row, Error *error);

/* The two halves of it. Who plans one with a config disk holds it until the row is there
 * (storage/config_disk.h). plan: the row as it will be, looked up and not yet inserted. make: row,
 * lock and folder, with the disk over the row's layer or over its base; takes the planned row over,
 * and on failure nothing is left. */
int vm_plan_row(Home *home, Operation *operation, const VmSpec *spec, CreateKind kind, VmRow *row,
                Error *error);
int vm_create_planned(Home *home, Operation *operation, VmRow *planned, CreateKind kind,
                      OpLock **lock, VmRow *row, Error *error);

/* The VM's folder with its overlay, over its layer or, without one, its base; both are its user's.
 * durable: flushed before it returns. */
int vm_make_folder(Home *home, const VmRow *row, bool durable, Error *error);

/* Gives the row a MAC and a user, and inserts it; the image must still be there. */
int vm_insert_row(Home *home, VmRow *row, Error *error);

#endif
