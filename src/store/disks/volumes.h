/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_DISKS_VOLUMES_H
#define RAMET_STORE_DISKS_VOLUMES_H

/* The table of volumes: disks that outlive VMs. */

#include "base/json.h"
#include "store/disks/vm_disk.h"
#include "store/store.h"

typedef struct VolumeRow {
    char id[VM_ID_SIZE];
    char name[NAME_SIZE];
    uint64_t created_at_usec;
    json_t *detail; /* owned: source */
} VolumeRow;

void volume_row_free(VolumeRow *row);
#define _cleanup_volume_row_ _cleanup_(volume_row_free)
void volume_rows_free(VolumeRow *rows, size_t count);

/* ERROR_CONFLICT when the name is taken. */
int volumes_insert(Store *store, const VolumeRow *row, Error *error);

/* By name, id, or the start of an id (4 digits or more) that fits only one. ERROR_NOT_FOUND. */
int volumes_find(Store *store, const char *reference, VolumeRow *row, Error *error);

/* How many have that id. */
int volumes_count(Store *store, const char *id, uint64_t *count, Error *error);

/* All of them, by name. */
int volumes_list(Store *store, VolumeRow **rows, size_t *count, Error *error);

/* ERROR_CONFLICT when a VM or snapshot has it; absent is success. */
int volumes_delete(Store *store, const VolumeRow *row, Error *error);

#endif
