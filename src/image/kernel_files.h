/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_KERNEL_FILES_H
#define RAMET_IMAGE_KERNEL_FILES_H

#include "image/kernel_bundle.h"

/* Finds or makes the bundle of a kernel that somebody has as files. Errors as those of
 * kernel_bundle_ensure. */
int kernel_files_ensure(const ImageContext *context, const KernelSource *source,
                        KernelBundle *bundle, Error *error);

#endif
