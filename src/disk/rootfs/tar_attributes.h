/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_TAR_ATTRIBUTES_H
#define RAMET_DISK_ROOTFS_TAR_ATTRIBUTES_H

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>

#include "base/error.h"

typedef struct UnpackMeta {
    mode_t mode; /* with the type */
    uid_t uid;
    gid_t gid;
    dev_t device;
    struct timespec changed; /* mtime */
} UnpackMeta;

/* Copies out of the entry, which may go afterwards. */
void unpack_meta_read(struct archive_entry *entry, UnpackMeta *meta);

/* Called with each extended attribute, and with ACLs as the attributes that Linux keeps them in. */
typedef int (*UnpackAttribute)(void *data, const char *key, const void *value, size_t size,
                               Error *error);
int unpack_attributes(struct archive_entry *entry, UnpackAttribute attribute, void *data,
                      Error *error);

/* Sets owner, mode, extended attributes, ACLs and time of PARENT/NAME. state NULL: as root; else
 * what needs root is written there. entry NULL: no attributes. */
int unpack_meta_apply(int parent_fd, const char *name, const UnpackMeta *meta,
                      struct archive_entry *entry, FILE *state, Error *error);

#endif
