/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_LAYER_APPLY_H
#define RAMET_DISK_LAYERS_LAYER_APPLY_H

/* One layer's tar over what the layers below it made. */

#include "disk/layers/ext4.h"
#include "disk/tar.h"

typedef struct LayerApply {
    Tree *tree;              /* borrowed */
    Ext4 *ext4;              /* borrowed; NULL: content is read and dropped */
    unsigned number;         /* of the layer, from 1 on */
    uint64_t max_entries;    /* of all layers together */
    uint64_t max_bytes;      /* what their files may have together */
    bool bound_by_room;      /* max_bytes is the free room */
    uint64_t entries, bytes; /* so far */
} LayerApply;

/* Layers that are, or decode to, more than `max_bytes`: ERROR_NO_SPACE when that is the free room,
 * else ERROR_CORRUPT. */
int layer_too_much(const LayerApply *apply, const char *what, uint64_t max_bytes, Error *error);

/* Applies all entries of the tar. As the OCI image specification has it (layer.md): `.wh.NAME`
 * removes NAME of the layers below, `.wh..wh..opq` all that they have in its folder, in whatever
 * order they come; neither touches what this layer brings. A name that is there already is
 * replaced, a folder by a folder keeps what is in it. ERROR_CORRUPT names the entry. */
int layer_apply(LayerApply *apply, TarReader *reader, Error *error);

#endif
