/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_USAGE_USAGE_DISK_H
#define RAMET_USAGE_USAGE_DISK_H

#include "base/error.h"
#include "usage/usage.h"

/* What a file, or a folder with all below it, takes on the disk. A file with several names counts
 * each time, unless a `seen` (may be NULL) of the caller's tells them apart. Absent is 0. */
typedef struct SeenFiles {
    size_t count;
    struct {
        uint64_t device, inode;
    } * files; /* owned */
} SeenFiles;
void seen_files_free(SeenFiles *seen);
uint64_t usage_disk_bytes(int dir_fd, const char *name, SeenFiles *seen);

/* Adds what lies below HOME/tmp. What a thread that is there works on is held. */
void usage_add_scratch(Usage *usage, int home_fd);

/* Adds what registries gave, below HOME/oci/sha256 (image/oci/oci_blobs.h). All of it is held while
 * an image is being pulled. */
void usage_add_fetched(Usage *usage, int home_fd);

/* Removes one of them. ERROR_CONFLICT while an image is being pulled. */
int usage_remove_fetched(int home_fd, const char *name, Error *error);

#endif
