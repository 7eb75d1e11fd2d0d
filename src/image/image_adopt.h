/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_IMAGE_ADOPT_H
#define RAMET_IMAGE_IMAGE_ADOPT_H

#include "image/image.h"

/* An image of a disk that the caller has, with a kernel bundle that is there. */
typedef struct ImageAdoptRequest {
    const char *name;       /* borrowed, as are all of these */
    const char *kernel_key; /* of the bundle */
    const char *source;     /* for people */
    const char *digest;     /* that the disk must have: not written where it is there; NULL: any */
    bool checked;           /* `write` compares it */
    uint64_t minimum_disk_bytes, default_memory_bytes; /* 0: as the disk is; 512 MiB */
    unsigned default_cpus;                             /* 0: one */
    ImageInit init;
    const char *step; /* ImageInfo's; NULL: it is of no recipe */
    json_t *settings; /* how it is run (ImageInfo); NULL: it does not say */
    json_t *seeds;    /* for who keeps its row: disks beside the root; NULL: none */
    /* Fills the empty file, whose path it may give to tools. */
    int (*write)(void *data, int fd, const char *path, Error *error);
    void *data;
} ImageAdoptRequest;

/* ERROR_CORRUPT when the disk has another digest, or holds neither file system nor partition table;
 * else what `write` says. What fails leaves nothing. */
int image_adopt(const ImageContext *context, const ImageAdoptRequest *request, ImageInfo *info,
                Error *error);

#endif
