/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_BASE_FILE_H
#define RAMET_DISK_BASE_FILE_H

/* Disk bases: $RAMET_HOME/images/tree1-HEX.raw, 0444, named by the tree digest of the raw content.
 * Those of earlier versions go on being named by the SHA-256 of it, holes included:
 * sha256-HEX.raw (docs/image-digest.md). */

#include "base/digest.h"
#include "base/tree_digest.h"
#include "disk/publish.h"

/* What stands for a base in rows: "tree1:HEX" or "sha256:HEX", with the NUL. */
#define BASE_ID_SIZE (7 + SHA256_HEX_SIZE)

/* What an earlier version named by the file that it was made of; see catalog/images.h. */
#define BASE_SOURCE_PREFIX "src:"

/* "HOME/images/tree1-HEX.raw"; caller owns. */
char *base_path(const char *home, const char *id);

/* "HOME/seeds/tree1-HEX.raw", where bases of other disks than the root are; caller owns. */
#define SEED_KIND "seeds"
char *seed_base_path(const char *home, const char *id);

/* What stands for a copy of a volume in place of a digest, which would have it read. */
#define BASE_CLONE_PREFIX "clone:"

/* The id of a file's name in HOME/images or HOME/seeds; -EINVAL when it is no base's. */
int base_id_from_name(const char *name, char id[BASE_ID_SIZE]);

/* Is it the SHA-256 that earlier versions named bases by? */
bool base_id_is_old(const char *id);

/* What to name a disk by: all cores read it, holes cost nothing. ERROR_CANCELLED. */
int base_digest(int fd, int cancel_fd, char id[BASE_ID_SIZE], Error *error);

/* The last step of every way that makes a base: publishes the scratch (begun with kind "images" or
 * SEED_KIND) as `id`, its digest. That the base exists already is success. */
int base_publish(Publish *publish, const char *id, Error *error);

/* Gives a base one more name. When another file has that, both names are that one from then on: a
 * reader of the old file keeps it. ERROR_NOT_FOUND when the base was removed. */
int base_add_name(const char *home, const char *id, const char *added, Error *error);

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

/* Whether the disk is as long as what is on it says: its file system, or its partitions.
 * ERROR_CORRUPT for one that was cut off. */
int base_check_whole(int fd, Error *error);

#endif
