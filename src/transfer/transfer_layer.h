/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_LAYER_H
#define RAMET_TRANSFER_TRANSFER_LAYER_H

/* A layer names what it stands on by a path of its home. It goes out without that, so that it is
 * the same everywhere, and gets a header of this home's where it arrives. */

#include "archive/archive_file.h"
#include "home/home.h"

/* A frozen layer as it goes out: takes over the descriptor. */
int transfer_layer_open(ArchiveFile *file, int fd, Error *error);

/* Puts a header before what arrived in an open file, with that size and over that backing file
 * ("qcow2" or "raw"), which must be there. ERROR_CORRUPT when it is none that ramet writes. */
int transfer_layer_adopt(Home *home, int fd, uint64_t virtual_bytes, const char *backing,
                         const char *format, Error *error);

/* Is what its tables say true? By qemu-img. */
int transfer_layer_check(const char *path, int cancel_fd, Error *error);

#endif
