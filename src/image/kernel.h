/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_KERNEL_H
#define RAMET_IMAGE_KERNEL_H

#include "image/kernel_bundle.h"

/* Finds or makes the bundle of a source (NULL: Debian's). Which bundle Debian's package gave is
 * remembered in HOME/kernels/debian.json until the package lists of apt change, so that only the
 * first call costs. Errors: ERROR_NOT_FOUND (no such file; apt knows no such package, hint "run
 * apt-get update"), ERROR_CORRUPT (not a kernel, damaged package), ERROR_UNSUPPORTED (a compression
 * that cannot be read here), ERROR_NO_SPACE, ERROR_CANCELLED. */
int kernel_bundle_ensure(const ImageContext *context, const KernelSource *source,
                         KernelBundle *bundle, Error *error);

#endif
