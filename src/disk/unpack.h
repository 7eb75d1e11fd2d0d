/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_UNPACK_H
#define RAMET_DISK_UNPACK_H

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

/* ---- between unpack.c and unpack_meta.c ---- */

typedef struct UnpackMeta {
    mode_t mode; /* with the type */
    uid_t uid;
    gid_t gid;
    dev_t device;
    struct timespec changed; /* mtime */
} UnpackMeta;

/* Copies out of the entry, which may go afterwards. */
void unpack_meta_read(struct archive_entry *entry, UnpackMeta *meta);

/* Sets owner, mode, extended attributes, ACLs and time of PARENT/NAME. state NULL: as root; else
 * what needs root is written there. entry NULL: no attributes. */
int unpack_meta_apply(int parent_fd, const char *name, const UnpackMeta *meta,
                      struct archive_entry *entry, FILE *state, Error *error);

#endif
