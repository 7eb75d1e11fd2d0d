/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_IMAGE_IMAGE_PARTS_H
#define RAMET_BENCH_IMAGE_IMAGE_PARTS_H

/* Parts of `ramet bench image`. */

#include "bench/bench.h"
#include "bench/image/registry.h"

/* Pull and run of two images beside podman. folder: for what that needs. What cannot be measured is
 * a failure of the report. */
int bench_image_podman(Bench *bench, const char *folder, const RegistryImage *small,
                       const RegistryImage *large, Error *error);

#endif
