/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_BASE_FILE_H
#define RAMET_DISK_BASE_FILE_H

/* Disk bases: $RAMET_HOME/images/sha256-HEX.raw, 0444, named by the SHA-256 of the whole raw
 * content. Hashing may take longer than making the base; then it is published as src-HEX.raw first,
 * named by the SHA-256 of the file that it was made of, and gets its own name, by link(2), when
 * that is known (docs/image-digest.md). Whoever uses the first name goes on doing so. */

#include "base/digest.h"
#include "disk/publish.h"

/* What stands for a base: "sha256:HEX", its digest, or "src:HEX" while that is not known. */
#define BASE_ID_SIZE (7 + SHA256_HEX_SIZE) /* with the NUL */
void base_id_from_digest(const char *sha256, char id[BASE_ID_SIZE]);
void base_id_from_source(const char *sha256, char id[BASE_ID_SIZE]);

/* The HEX of "src:HEX", borrowed from id; NULL for a digest. */
const char *base_id_source(const char *id);

/* "HOME/images/sha256-HEX.raw" or "HOME/images/src-HEX.raw"; caller owns. */
char *base_id_path(const char *home, const char *id);

/* The id of a file's name in HOME/images; -EINVAL when it is no base's. */
int base_id_from_name(const char *name, char id[BASE_ID_SIZE]);

/* "HOME/images/sha256-HEX.raw"; caller owns. */
char *base_path(const char *home, const char *sha256);

/* The last step of every way that makes a base: publishes the scratch (begun with kind "images")
 * under its digest. sha256 NULL: it is computed. Returns the digest in hex[] and the path (owned by
 * the caller); either may be NULL. That the base exists already is success. */
int base_publish_raw(Publish *publish, const char *sha256, char hex[SHA256_HEX_SIZE], char **path,
                     Error *error);

/* The same for a base whose digest is not known yet. */
int base_publish_source(Publish *publish, const char *source_sha256, Error *error);

/* Gives the base of that source its own name. When another base has it, both names are that one
 * from then on: a reader of the old file keeps it. ERROR_NOT_FOUND when the base was removed. */
int base_name_by_digest(const char *home, const char *source_sha256, const char *sha256,
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
