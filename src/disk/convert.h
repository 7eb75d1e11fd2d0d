/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_CONVERT_H
#define RAMET_DISK_CONVERT_H

/* qcow2 to raw, by qemu-img. */

#include "base/error.h"

/* fd holds qcow2 from its offset 0. Refuses backing files, data files, encryption
 * (ERROR_UNSUPPORTED), images marked corrupt or that `qemu-img check` finds damaged (ERROR_CORRUPT)
 * and more than max_bytes of virtual size. The output, an empty file, gets the content with holes.
 */
int convert_qcow2(int fd, int output_fd, uint64_t max_bytes, int cancel_fd, Error *error);

#endif
