/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_CONVERT_H
#define RAMET_DISK_CONVERT_H

/* Images of virtual machines to raw, by qemu-img. */

#include "base/error.h"
#include "disk/formats.h"

/* fd holds an image of that kind (qcow2, VMDK, VHDX) from its offset 0. Refuses what leads to other
 * files or is encrypted (ERROR_UNSUPPORTED), images marked corrupt or that `qemu-img check` finds
 * damaged (ERROR_CORRUPT) and more than max_bytes of virtual size. The output, an empty file, gets
 * the content with holes. */
int convert_image(ExtractKind kind, int fd, int output_fd, uint64_t max_bytes, int cancel_fd,
                  Error *error);

#endif
