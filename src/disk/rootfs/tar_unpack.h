/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_TAR_UNPACK_H
#define RAMET_DISK_ROOTFS_TAR_UNPACK_H

/* Unpacks a tar of a root file system into an empty folder. */

#include "disk/source.h"

typedef struct UnpackOptions {
    int folder_fd; /* empty folder */
    const char *
        state_path; /* not as root: gets what only root can store, in the format of `fakeroot -i` */
    uint64_t max_bytes;
    uint64_t max_entries;
    int cancel_fd;
    ExtractProgress progress; /* may be NULL */
    void *progress_data;
} UnpackOptions;

/* Errors as in rootfs.h. */
int unpack_tar(ExtractSource *source, const UnpackOptions *options, Error *error);

#endif
