/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_VMS_H
#define RAMET_STORE_VMS_H

/* The table of VMs. What a VM was asked to be is its specification, what it is right now its
 * runtime; both lie there as JSON, so that a field more needs no migration. What is unique or
 * searched for has a column of its own. */

#include "base/json.h"
#include "store/images.h"
#include "store/vm_runtime.h"
#include "store/vm_spec.h"
#include "store/vm_state.h"

typedef struct VmRow {
    char id[VM_ID_SIZE];
    char name[NAME_SIZE];
    char lab[VM_ID_SIZE]; /* the lab that it is of; empty: none */
    VmState state;
    char image[64];                           /* the name it was made from */
    char image_digest[IMAGE_ROW_DIGEST_SIZE]; /* its disk's base */
    char snapshot[VM_ID_SIZE];                /* that it was forked from; empty: none */
    char mac[18];             /* "52:54:00:…", unique unless it is leased, or of a lab */
    uint32_t uid;             /* the VM's own user, unique; 0: the daemon's */
    bool remove;              /* --rm */
    bool attached;            /* belongs to the client that ran it */
    uint64_t created_at_usec; /* realtime */
    VmSpec spec;              /* owned */
    VmRuntime runtime;        /* owned */
} VmRow;

void vm_row_free(VmRow *row);
#define _cleanup_vm_row_ _cleanup_(vm_row_free)
void vm_rows_free(VmRow *rows, size_t count);

/* Of card `index` of its specification. */
VmAddress vm_address(const VmRow *row, size_t index);
void vm_set_address(VmRow *row, size_t index, const VmAddress *address);

/* ERROR_CONFLICT when the name is taken. -EAGAIN (and ERROR_CONFLICT) when the MAC or uid is: draw
 * others. */
int vms_insert(Store *store, const VmRow *row, Error *error);

/* Writes state, MAC address, runtime, spec, lab, remove and attached. ERROR_NOT_FOUND when the row
 * is gone, or has another name by now: a warm clone that was claimed is no more what the caller
 * knew.
 */
int vms_update(Store *store, const VmRow *row, Error *error);

/* Another name for it. ERROR_CONFLICT when that is taken. */
int vms_rename(Store *store, const char *id, const char *name, Error *error);

/* Writes from which snapshot it grows (empty: none), and on which base its disk stands. */
int vms_set_ground(Store *store, const VmRow *row, Error *error);

/* One of the snapshot's warm clones, the oldest, becomes `creating` under this name, in one step,
 * so that nobody else gets it. 1 and the row, or 0: none is warm. ERROR_CONFLICT: the name is
 * taken. */
int vms_claim_warm(Store *store, const char *snapshot, const char *name, const char *image,
                   VmRow *row, Error *error);

/* Undoes a claim to which nothing was done yet: the clone is `warm` again. One that went meanwhile
 * is success. */
int vms_release_warm(Store *store, const char *id, Error *error);

/* By id. */
int vms_get(Store *store, const char *id, VmRow *row, Error *error);

/* By name, id, or the start of an id (4 digits or more) that fits only one. ERROR_NOT_FOUND, or
 * ERROR_CONFLICT when it fits several. */
int vms_find(Store *store, const char *reference, VmRow *row, Error *error);

/* All of them, oldest first; those of a lab; and those that have a policy. */
int vms_list(Store *store, VmRow **rows, size_t *count, Error *error);
int vms_list_tended(Store *store, VmRow **rows, size_t *count, Error *error);
int vms_list_of_lab(Store *store, const char *lab, VmRow **rows, size_t *count, Error *error);

/* Absent is success. */
int vms_delete(Store *store, const char *id, Error *error);

/* How many stand on that image. */
int vms_count_digest(Store *store, const char *image_digest, size_t *count, Error *error);

/* The least free uid of a range; ERROR_FAILED when all are taken. */
int vms_pick_uid(Store *store, uint32_t first, uint32_t count, uint32_t *uid, Error *error);

#endif
