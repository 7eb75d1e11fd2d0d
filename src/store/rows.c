/* SPDX-License-Identifier: Apache-2.0 */

#include "store/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define ID_PREFIX_MIN 4
#define LIST_FIRST 16

int rows_not_found(const RowKind *kind, const char *reference, Error *error) {
    error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no %s %s", kind->what, reference);
    if (kind->hint)
        error_set_hint(error, "%s", kind->hint);
    return -ENOENT;
}

/* ---- one row ---- */

/* 1: the row that the statement gives, 0: it gives none. */
static int read_only_row(Query *query, const RowKind *kind, void *row, Error *error) {
    int r = query_step(query, error);
    if (r <= 0)
        return r;
    r = kind->read(query, row, error);
    if (r < 0)
        return r;
    r = query_step(query, error);
    if (r == 0)
        return 1;
    if (kind->free)
        kind->free(row);
    return r < 0 ? r
                 : error_set(error, ERROR_CONFLICT, EEXIST, "that fits several %ss", kind->what);
}

int rows_get(Store *store, const RowKind *kind, const char *condition, const char *value,
             const char *second, void *row, Error *error) {
    _cleanup_free_ char *sql =
        str_format("SELECT %s FROM %s WHERE %s", kind->columns, kind->table, condition);
    _cleanup_free_ void *found = calloc(1, kind->size);
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);

    if (!found)
        abort();
    if (r < 0)
        return r;
    query_text(&query, value);
    if (second)
        query_text(&query, second);
    r = read_only_row(&query, kind, found, error);
    if (r > 0)
        memcpy(row, found, kind->size);
    return r;
}

int rows_get_by_id(Store *store, const RowKind *kind, const char *id, void *row, Error *error) {
    int r = rows_get(store, kind, "id = ?", id, NULL, row, error);
    if (r == 0)
        return rows_not_found(kind, id, error);
    return r < 0 ? r : 0;
}

static bool is_id_prefix(const char *text) {
    size_t size = strlen(text);
    return size >= ID_PREFIX_MIN && size < VM_ID_SIZE && strspn(text, "0123456789abcdef") == size;
}

int rows_find(Store *store, const RowKind *kind, const char *visible, const char *reference,
              void *row, Error *error) {
    _cleanup_free_ char *by_name = str_format("%s AND name = ?", visible);
    _cleanup_free_ char *by_id = str_format("%s AND id GLOB ?", visible);
    _cleanup_free_ char *pattern = str_format("%s*", reference);
    int r = rows_get(store, kind, by_name, reference, NULL, row, error);
    if (r == 0 && is_id_prefix(reference)) {
        r = rows_get(store, kind, by_id, pattern, NULL, row, error);
        if (r < 0)
            return error_add_context(error, "%s", reference);
    }
    if (r == 0)
        return rows_not_found(kind, reference, error);
    return r < 0 ? r : 0;
}

/* ---- all of them ---- */

void rows_free(const RowKind *kind, void *rows, size_t count) {
    for (size_t i = 0; kind->free && i < count; i++)
        kind->free((char *)rows + i * kind->size);
    free(rows);
}

/* Room for one more row, zeroed. */
static void *add_row(const RowKind *kind, void **rows, size_t count, size_t *room) {
    void *row;
    if (count == *room) {
        *room = *room ? 2 * *room : LIST_FIRST;
        *rows = reallocarray(*rows, *room, kind->size);
        if (!*rows)
            abort();
    }
    row = (char *)*rows + count * kind->size;
    memset(row, 0, kind->size);
    return row;
}

static int read_rows(Query *query, const RowKind *kind, void **rows, size_t *count, Error *error) {
    void *list = NULL;
    size_t n = 0, room = 0;
    int r;
    while ((r = query_step(query, error)) > 0) {
        r = kind->read(query, add_row(kind, &list, n, &room), error);
        if (r < 0)
            break;
        n++;
    }
    if (r < 0) {
        rows_free(kind, list, n);
        return r;
    }
    *rows = list;
    *count = n;
    return 0;
}

int rows_list_where(Store *store, const RowKind *kind, const char *condition, const char *value,
                    void **rows, size_t *count, Error *error) {
    _cleanup_free_ char *sql = str_format("SELECT %s FROM %s WHERE %s ORDER BY %s", kind->columns,
                                          kind->table, condition, kind->order);
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    if (value)
        query_text(&query, value);
    return read_rows(&query, kind, rows, count, error);
}

int rows_list(Store *store, const RowKind *kind, void **rows, size_t *count, Error *error) {
    return rows_list_where(store, kind, "1", NULL, rows, count, error);
}

/* ---- small statements ---- */

int rows_run(Store *store, const char *sql, const char *text, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    query_text(&query, text);
    return query_run(&query, NULL, error);
}

int rows_count(Store *store, const char *sql, const char *text, uint64_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    if (text)
        query_text(&query, text);
    r = query_step(&query, error);
    if (r < 0)
        return r;
    *count = query_column_u64(&query, 0);
    return 0;
}

int rows_list_ids(Store *store, const char *sql, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                  Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    size_t n = 0;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    while (n < max && (r = query_step(&query, error)) > 0)
        query_column_text(&query, 0, ids[n++], VM_ID_SIZE);
    if (r < 0)
        return r;
    *count = n;
    return 0;
}
