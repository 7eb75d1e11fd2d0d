/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_SNIFF_H
#define RAMET_DISK_SNIFF_H

#include <archive_entry.h>
#include <stdbool.h>

#include "base/error.h"
#include "disk/formats.h"

#define SNIFF_BYTES ((size_t)1 << 20) /* how much of a file is looked at, and of what it holds */

/* From the beginning of a file. ERROR_CORRUPT: it is empty, or its beginning cannot be decoded;
 * ERROR_UNSUPPORTED: it is something else that we know by its name. */
int sniff_begin(const uint8_t *begin, size_t begin_size, ExtractWanted wanted, ExtractKind *kind,
                ExtractCompression *compression, Error *error);

/* The same of a file that is a disk, and so may begin with anything: raw, qcow2, VMDK or VHDX.
 * ERROR_UNSUPPORTED: an image of another kind. */
int sniff_image(int fd, ExtractKind *kind, Error *error);

/* Is it a regular file with a disk image's name? */
bool tar_entry_is_disk(struct archive_entry *entry);

#endif
