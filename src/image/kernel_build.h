/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_KERNEL_BUILD_H
#define RAMET_IMAGE_KERNEL_BUILD_H

/* Within this folder: putting a bundle together. */

#include "image/kernel_bundle.h"

/* Where the parts of a bundle lie before it is made. */
typedef struct KernelParts {
    const char *key;     /* borrowed, as are all */
    const char *kernel;  /* bzImage or vmlinux */
    const char *modules; /* folder with the modules, or NULL */
    const char *version; /* NULL: as the kernel or the folder's name says */
    const char *source;  /* for people */
} KernelParts;

/* Makes `folder` (new and empty) a bundle of these parts. */
int kernel_parts_assemble(const ImageContext *context, const KernelParts *parts, const char *folder,
                          Error *error);

/* What a guest loads of a folder of modules, by its modules.dep and modules.builtin: paths below
 * it, dependencies first. Errors as those of modules_closure. */
int kernel_load_order(const char *modules, StrList *load, Error *error);

#endif
