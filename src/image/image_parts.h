/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_IMAGE_PARTS_H
#define RAMET_IMAGE_IMAGE_PARTS_H

/* Within this folder: what build and import share. */

#include "disk/publish.h"
#include "disk/rootfs/rootfs.h"
#include "image/image.h"

/* Fills all of info but source, init and default_memory_bytes from a base that exists, which `base`
 * stands for (disk/base_file.h). `size_bytes`
 * is what the request asked for: less than the base's size is ERROR_USAGE. */
int image_fill_info(const ImageContext *context, const char *name, const char *base,
                    const KernelBundle *kernel, uint64_t size_bytes, ImageInfo *info, Error *error);

/* "HOME/tmp", or where the context wants its scratch; caller owns. */
char *image_scratch_folder(const ImageContext *context);

/* Adapts an ImageContext to the progress functions of src/disk. */
typedef struct ImageStep {
    const ImageContext *context; /* borrowed */
    const char *step;            /* borrowed */
} ImageStep;
void image_step_progress(void *data, uint64_t done_bytes, uint64_t total_bytes);

#endif
