/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_LAYERS_H
#define RAMET_TRANSFER_TRANSFER_LAYERS_H

/* Within this folder: the layers of disks that arrive with a snapshot (members "layer-ID"), each
 * over the one before it, the first of a disk over its base. One that is here is not read. */

#include "archive/archive_read.h"
#include "disk/publish.h"
#include "home/home.h"
#include "store/disks/layers.h"

#define TRANSFER_LAYERS_MAX 60

typedef struct TransferLayer {
    size_t disk;      /* 0: the root */
    LayerRow row;     /* owned */
    Publish *publish; /* owned; NULL: it is here */
} TransferLayer;

typedef struct TransferLayers {
    Home *home; /* borrowed */
    size_t count;
    TransferLayer items[TRANSFER_LAYERS_MAX];
} TransferLayers;

void transfer_layers_free(TransferLayers *layers);

/* The next disk's, as the manifest lists them, over that base: wants the members of those that are
 * not here. ERROR_NOT_FOUND: one is neither here nor in the archive. */
int transfer_layers_want(TransferLayers *layers, ArchiveReader *reader, size_t disk,
                         const char *base, const json_t *list, int cancel_fd, Error *error);

/* After the archive was read: checks and publishes the files. They have no rows yet. */
int transfer_layers_finish(TransferLayers *layers, int cancel_fd, Error *error);

/* The rows, within the caller's transaction: a layer on which nothing stands may be collected at
 * any moment. */
int transfer_layers_insert(const TransferLayers *layers, Error *error);

/* Files without rows are nobody's: they go here, or at the next start. */
void transfer_layers_remove(TransferLayers *layers);

#endif
