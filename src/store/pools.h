/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_POOLS_H
#define RAMET_STORE_POOLS_H

/* The table of pools: of what, and how many clones shall be warm. The clones themselves are rows of
 * the table of VMs in the state "warm". */

#include <stddef.h>

#include "store/store.h"

typedef struct PoolRow {
    char source[64]; /* a snapshot's id, or an image's name */
    char kind[16];   /* "snapshot" or "image" */
    char name[64];   /* what it was called when the pool was set */
    uint64_t wanted; /* never 0: such a pool is removed */
    uint64_t created_at_usec;
} PoolRow;

/* Makes it, or changes the number of one that is there. */
int pools_set(Store *store, const PoolRow *row, Error *error);

/* Absent is success. */
int pools_delete(Store *store, const char *source, Error *error);

/* ERROR_NOT_FOUND */
int pools_get(Store *store, const char *source, PoolRow *row, Error *error);

/* All of them, oldest first; free() the rows. */
int pools_list(Store *store, PoolRow **rows, size_t *count, Error *error);

#endif
