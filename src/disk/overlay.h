/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_OVERLAY_H
#define RAMET_DISK_OVERLAY_H

/* Writes qcow2 version 3 files (docs/interop/qcow2.txt in QEMU): thin overlays over a base, and
 * empty disks that stand alone. */

#include <stdbool.h>

#include "base/error.h"

#define OVERLAY_MAX_BYTES \
    ((uint64_t)2 << 50) /* QEMU's bound on the L1 table, 32 MiB, with 64 KiB clusters */

typedef struct OverlaySpec {
    uint64_t virtual_bytes;     /* multiple of 512; 0: as large as the backing file */
    const char *backing_path;   /* absolute, at most 1023 bytes; NULL: no backing file */
    const char *backing_format; /* "raw" or "qcow2" */
    bool no_sync;               /* leave it to the kernel when it becomes durable */
} OverlaySpec;

/* Makes DIR/NAME (0600, must not exist) and makes it durable (unless no_sync): fsync of file and
 * folder. The size
 * may only grow over the backing's: smaller is ERROR_USAGE. A backing file that is absent is
 * ERROR_NOT_FOUND, a name that is taken ERROR_CONFLICT. On failure nothing stays. */
int overlay_create_at(int dir_fd, const char *name, const OverlaySpec *spec, Error *error);

#endif
