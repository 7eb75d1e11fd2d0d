/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_DISKS_SEEDS_H
#define RAMET_STORE_DISKS_SEEDS_H

/* The table of seeds: what frozen bases are called. */

#include "base/json.h"
#include "store/disks/vm_disk.h"
#include "store/store.h"

typedef struct SeedRow {
    char name[NAME_SIZE];
    char digest[VM_BASE_SIZE];
    uint64_t created_at_usec;
    json_t *detail; /* owned: source, virtual_bytes, content_bytes, entries */
} SeedRow;

void seed_row_free(SeedRow *row);
#define _cleanup_seed_row_ _cleanup_(seed_row_free)
void seed_rows_free(SeedRow *rows, size_t count);

/* Adds the row; in the place of one that has its name when `replace` says so, else ERROR_CONFLICT.
 */
int seeds_put(Store *store, const SeedRow *row, bool replace, Error *error);

/* By name, or by the start of the digest (6 digits or more) that fits only one. ERROR_NOT_FOUND. */
int seeds_find(Store *store, const char *reference, SeedRow *row, Error *error);

/* By name: 1 and the row, or 0. */
int seeds_get(Store *store, const char *name, SeedRow *row, Error *error);

/* All of them, by name. */
int seeds_list(Store *store, SeedRow **rows, size_t *count, Error *error);

/* How many names the content with this digest has. */
int seeds_count_digest(Store *store, const char *digest, uint64_t *count, Error *error);

/* Absent is success. */
int seeds_delete(Store *store, const char *name, Error *error);

#endif
