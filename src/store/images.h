/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_IMAGES_H
#define RAMET_STORE_IMAGES_H

/* The table of images: a name for a base, with the kernel that boots it. Several names may stand
 * for one digest. */

#include "base/digest.h"
#include "base/json.h"
#include "store/store.h"

#define IMAGE_ID_SIZE 33 /* 32 hexadecimal digits and the NUL */

/* "tree1:" or "sha256:" and 64 digits, with the NUL */
#define IMAGE_ROW_DIGEST_SIZE (7 + SHA256_HEX_SIZE)

typedef struct ImageRow {
    char name[64];
    char digest[IMAGE_ROW_DIGEST_SIZE]; /* of the base */
    json_t *detail;                     /* owned: what src/image knows about it; may be NULL */
    uint64_t created_at_usec;           /* realtime */
} ImageRow;

void image_row_free(ImageRow *row);
#define _cleanup_image_row_ _cleanup_(image_row_free)

/* *to, which is freed, becomes what *from was; that is empty afterwards. */
void image_row_move(ImageRow *to, ImageRow *from);
void image_rows_free(ImageRow *rows, size_t count);

/* ERROR_CONFLICT when the name is taken. */
int images_insert(Store *store, const ImageRow *row, Error *error);

/* The same, and takes the name from what it stood for. */
int images_replace(Store *store, const ImageRow *row, Error *error);

/* By name: 1 and the row, 0 when there is none. */
int images_get(Store *store, const char *name, ImageRow *row, Error *error);

/* What it is called by beside its name, as long as it is there: 32 hexadecimal digits, which follow
 * from its name and the time when it was made. */
void image_row_id(const ImageRow *row, char id[IMAGE_ID_SIZE]);

/* So many virtual CPUs its VMs have unless they say otherwise; at least 1. */
unsigned image_row_cpus(const ImageRow *row);

/* By name, by id, by digest, or by the start of a digest (6 digits or more, its kind before them
 * allowed) that fits only one digest. ERROR_NOT_FOUND, or ERROR_CONFLICT when it fits several. */
int images_find(Store *store, const char *reference, ImageRow *row, Error *error);

/* All of them by name; the caller frees with image_rows_free. */
int images_list(Store *store, ImageRow **rows, size_t *count, Error *error);

/* ERROR_NOT_FOUND when there is none of that name. */
int images_delete(Store *store, const char *name, Error *error);

/* `to` takes the place of `from`, which stood for it, in the rows of images, VMs and snapshots. */
int images_replace_digest(Store *store, const char *from, const char *to, Error *error);

/* How many names stand for this digest. */
int images_count_digest(Store *store, const char *digest, size_t *count, Error *error);

/* How many names, VMs and snapshots stand on the base with this digest. */
int images_count_uses(Store *store, const char *digest, size_t *count, Error *error);

#endif
