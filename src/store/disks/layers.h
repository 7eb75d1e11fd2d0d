/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_DISKS_LAYERS_H
#define RAMET_STORE_DISKS_LAYERS_H

/* The table of layers: frozen files of disks' chains, $RAMET_HOME/layers/ID.qcow2. A layer stands
 * on another one or on an image's base. It stays as long as a VM, a snapshot or another layer
 * stands on it. */

#include "store/vms.h"

typedef struct LayerRow {
    char id[VM_ID_SIZE];
    char parent[VM_ID_SIZE]; /* empty: the base */
    char *base_path;         /* owned: the raw base at the end of the chain */
    uint64_t virtual_bytes;
    uint64_t depth;               /* 1: right over the base */
    char flat[VM_ID_SIZE];        /* a layer of the same content right over the base; empty: none */
    char sha256[SHA256_HEX_SIZE]; /* of the file; empty until it is known */
    FileStamp stamp;              /* of the frozen file */
} LayerRow;

void layer_row_free(LayerRow *row);
#define _cleanup_layer_row_ _cleanup_(layer_row_free)

/* Adds the row. */
int layers_insert(Store *store, const LayerRow *row, Error *error);

/* Writes flat, sha256 and stamp. */
int layers_update(Store *store, const LayerRow *row, Error *error);

/* ERROR_NOT_FOUND */
int layers_get(Store *store, const char *id, LayerRow *row, Error *error);

/* All of them; the caller frees with layer_rows_free. */
int layers_list(Store *store, LayerRow **rows, size_t *count, Error *error);
void layer_rows_free(LayerRow *rows, size_t count);

/* Absent is success. */
int layers_delete(Store *store, const char *id, Error *error);

/* How many VMs, snapshots and layers stand right on it. */
int layers_count_users(Store *store, const char *id, uint64_t *users, Error *error);

/* Ids of layers on which nothing stands; at most max. */
int layers_list_unused(Store *store, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                       Error *error);

#endif
