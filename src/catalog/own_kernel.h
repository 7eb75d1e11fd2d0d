/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CATALOG_OWN_KERNEL_H
#define RAMET_CATALOG_OWN_KERNEL_H

#include "home/home.h"
#include "home/operation.h"
#include "store/images.h"

/* Has an image that boots by its own boot loader boot by the kernel that its disk brings, without
 * firmware, as one is that was imported with --machine microvm: changes the row, which is the
 * caller's, and nothing in the home but its kernels. Others are left alone, since that is how they
 * boot. ERROR_UNSUPPORTED where the disk has no such kernel. */
int image_row_use_own_kernel(Home *home, Operation *operation, ImageRow *image, Error *error);

#endif
