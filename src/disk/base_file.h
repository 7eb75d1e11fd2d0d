/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_BASE_FILE_H
#define RAMET_DISK_BASE_FILE_H

/* Disk bases: $RAMET_HOME/images/sha256-HEX.raw, 0444, named by the SHA-256 of the whole raw
 * content. */

#include "base/digest.h"
#include "disk/publish.h"

/* "HOME/images/sha256-HEX.raw"; caller owns. */
char *base_path(const char *home, const char *sha256);

/* The last step of every way that makes a base: publishes the scratch (begun with kind "images")
 * under its digest. sha256 NULL: it is computed. Returns the digest in hex[] and the path (owned by
 * the caller); either may be NULL. That the base exists already is success. */
int base_publish_raw(Publish *publish, const char *sha256, char hex[SHA256_HEX_SIZE], char **path,
                     Error *error);

/* What a disk begins with, so that a file that is no disk at all is refused before a VM is tried.
 */
typedef enum BaseContent {
    BASE_CONTENT_UNKNOWN, /* neither a file system nor a partition table that we know */
    BASE_CONTENT_EXT4,    /* or ext2, ext3 */
    BASE_CONTENT_XFS,
    BASE_CONTENT_BTRFS,
    BASE_CONTENT_SQUASHFS,
    BASE_CONTENT_EROFS,
    BASE_CONTENT_GPT,
    BASE_CONTENT_MBR,
    BASE_CONTENT_ISO9660,
} BaseContent;

int base_probe_content(int fd, BaseContent *content, Error *error);
const char *base_content_name(BaseContent content); /* "ext4", "gpt" … "unknown" */

#endif
