/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_ISO_FOLDER_H
#define RAMET_DISK_ROOTFS_ISO_FOLDER_H

/* A folder to a disk with ISO 9660 and Rock Ridge: names, modes, owners and links as they are. */

#include "base/error.h"

typedef struct IsoFolder {
    const char *folder;  /* absolute, and no link */
    const char *label;   /* of the file system */
    int output_fd;       /* an empty file */
    uint64_t most_bytes; /* of all files' content */
    int cancel_fd;       /* -1: none */
} IsoFolder;

/* ERROR_USAGE: too much, or what is neither file, folder nor link; ERROR_CONFLICT when the folder
 * changed while it was read, which names what; ERROR_NO_SPACE; ERROR_CANCELLED. */
int iso_from_folder(const IsoFolder *iso, Error *error);

#endif
