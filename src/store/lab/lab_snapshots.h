/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_LAB_LAB_SNAPSHOTS_H
#define RAMET_STORE_LAB_LAB_SNAPSHOTS_H

/* The table of labs' snapshots, and which snapshots of VMs belong to them. The database itself sees
 * to it that a snapshot of a VM stays while it belongs to one; it goes by itself, as an automatic
 * one does, once it does not, and nothing grows from it. */

#include "store/lab/frozen_lab.h"
#include "store/vm_runtime.h"

typedef struct LabSnapshotRow {
    char id[VM_ID_SIZE];
    char name[64];           /* unique */
    char lab[64];            /* name of the lab that it was taken of */
    char lab_id[VM_ID_SIZE]; /* its id */
    uint64_t created_at_usec;
    FrozenLab data; /* owned */
} LabSnapshotRow;

void lab_snapshot_row_free(LabSnapshotRow *row);
#define _cleanup_lab_snapshot_row_ _cleanup_(lab_snapshot_row_free)
void lab_snapshot_rows_free(LabSnapshotRow *rows, size_t count);

/* And that the snapshots of its VMs belong to it. ERROR_CONFLICT when the name is taken. */
int lab_snapshots_insert(Store *store, const LabSnapshotRow *row, Error *error);

/* ERROR_CONFLICT while a lab grows from it; absent is success. */
int lab_snapshots_delete(Store *store, const LabSnapshotRow *row, Error *error);

/* By name, id, or the start of an id (4 digits or more) that fits only one. ERROR_NOT_FOUND, or
 * ERROR_CONFLICT when it fits several. */
int lab_snapshots_find(Store *store, const char *reference, LabSnapshotRow *row, Error *error);

/* By id. ERROR_NOT_FOUND. */
int lab_snapshots_get(Store *store, const char *id, LabSnapshotRow *row, Error *error);

/* All of them, oldest first. */
int lab_snapshots_list(Store *store, LabSnapshotRow **rows, size_t *count, Error *error);

/* For a VM's snapshot that is to go alone: ERROR_CONFLICT when it belongs to a lab's. */
int lab_snapshots_check_alone(Store *store, const char *snapshot, Error *error);

#endif
