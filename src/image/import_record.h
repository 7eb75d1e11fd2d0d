/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_IMPORT_RECORD_H
#define RAMET_IMAGE_IMPORT_RECORD_H

/* Small files HOME/images/sources/KEY.json that remember which base came of which source, so that
 * the same source need not be read again. KEY tells everything that the result depends on: it is
 * image_source_key() of a file as it was found, or the SHA-256 of what was read. A record is only a
 * hint: it counts while its base is there, and may be removed at any time. */

#include "disk/base_file.h"
#include "image/context.h"

typedef struct ImageRecord {
    char base[BASE_ID_SIZE];
    char source_sha256[SHA256_HEX_SIZE]; /* of the source's bytes; "": nobody asked for it */
} ImageRecord;

/* The key of a regular file as it is now: device, inode, size, times of change. A file that changed
 * within the last moment before it was read could change again within the same tick of the clock,
 * so that is for the caller to look at: image_source_is_stable(). */
struct stat;
void image_source_key(const struct stat *st, char key[SHA256_HEX_SIZE]);

/* Is the last change older than the clock's grain (a second, to be on the safe side)? */
bool image_source_is_stable(const struct stat *st);

/* Returns 0 when there is a record whose base exists; else -ENOENT. */
int image_record_read(const char *home, const char *key, ImageRecord *record);

/* Failing to write costs the next caller time only. */
void image_record_write(const char *home, const char *key, const ImageRecord *record);

#endif
