/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_LAYERS_H
#define RAMET_DISK_LAYERS_LAYERS_H

/* Layers of a container image to an ext4 disk, in one pass over their bytes. Nothing of them is
 * unpacked on the host: names are kept in memory, content goes to the disk's blocks. */

#include "base/digest.h"
#include "base/error.h"

typedef struct Layer {
    int fd;                        /* borrowed: a regular file: a tar, plain or compressed */
    char stored[SHA256_HEX_SIZE];  /* the digest that its bytes must have */
    char decoded[SHA256_HEX_SIZE]; /* and what they decode to; "": whatever */
} Layer;

typedef struct LayersOptions {
    const Layer *layers; /* the lowest first */
    size_t n_layers;
    const char *output_path;    /* raw file; is truncated */
    const char *scratch_folder; /* where the bound on bytes comes from */
    uint64_t size_bytes;        /* of the disk; 0: 2 GiB, or more where the layers need it */
    uint64_t max_bytes;         /* of their files together; 0: the free room */
    uint64_t max_entries;       /* 0: 2 million */
    const char *const *folders; /* NULL-terminated: made where absent, 0755, or 1777 for "tmp" */
    const char *uuid;           /* also the seed of the folders' hashes */
    void (*progress)(void *data, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *progress_data;
    int cancel_fd; /* -1: none */
} LayersOptions;

typedef struct LayersResult {
    uint64_t virtual_bytes;
    uint64_t content_bytes; /* of all files of all layers */
    uint64_t entries;       /* the same */
    size_t wrong_layer;     /* of an error: the layer whose digest is wrong; else n_layers */
} LayersResult;

/* The same layers and options give the same bytes. ERROR_CORRUPT: damaged, hostile, or another
 * digest than said, which is found out at the layer's end; ERROR_NO_SPACE. */
int layers_to_ext4(const LayersOptions *options, LayersResult *result, Error *error);

#endif
