/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_ROWS_H
#define RAMET_STORE_ROWS_H

/* What all tables do alike: reading their rows, and finding one by what people call it. */

#include "store/query.h"
#include "store/vm_runtime.h"

typedef struct RowKind {
    const char *table;
    const char *columns; /* as `read` wants them */
    const char *order;   /* of lists */
    const char *what;    /* "VM"; for messages, as is the next */
    const char *hint;    /* "see ramet ps -a"; NULL: none */
    size_t size;         /* of the struct */
    /* Fills the row, or fails and leaves nothing that would have to be freed. */
    int (*read)(Query *query, void *row, Error *error);
    void (*free)(void *row); /* NULL: it owns nothing */
} RowKind;

/* The one row that fits: 1 and the row, or 0. `condition` is SQL with ? for `value` and, unless
 * `second` is NULL, another for that. ERROR_CONFLICT when several fit. */
int rows_get(Store *store, const RowKind *kind, const char *condition, const char *value,
             const char *second, void *row, Error *error);

/* By name, or by the start of an id (4 digits or more) that fits only one, among the rows for which
 * `visible` (SQL) holds. ERROR_NOT_FOUND, ERROR_CONFLICT. */
int rows_find(Store *store, const RowKind *kind, const char *visible, const char *reference,
              void *row, Error *error);

/* By id. ERROR_NOT_FOUND. */
int rows_get_by_id(Store *store, const RowKind *kind, const char *id, void *row, Error *error);

/* All of them; the caller frees the array with rows_free. */
int rows_list(Store *store, const RowKind *kind, void **rows, size_t *count, Error *error);

/* Those that fit: `condition` is SQL with a ? for `value` (NULL: it has none). */
int rows_list_where(Store *store, const RowKind *kind, const char *condition, const char *value,
                    void **rows, size_t *count, Error *error);
void rows_free(const RowKind *kind, void *rows, size_t count);

/* "there is no VM web", with the hint. */
int rows_not_found(const RowKind *kind, const char *reference, Error *error);

/* Small statements: one with a text that gives nothing, one that gives a number (text NULL: it has
 * no parameter), one without a parameter that gives ids, at most max. */
int rows_run(Store *store, const char *sql, const char *text, Error *error);
int rows_count(Store *store, const char *sql, const char *text, uint64_t *count, Error *error);
int rows_list_ids(Store *store, const char *sql, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                  Error *error);

#endif
