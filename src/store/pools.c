/* SPDX-License-Identifier: Apache-2.0 */

#include "store/pools.h"

#include <errno.h>

#include "base/str.h"
#include "store/internal.h"

#define COLUMNS "source, kind, name, wanted, created_at"

int pools_set(Store *store, const PoolRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO pools (" COLUMNS ") VALUES (?, ?, ?, ?, ?)"
                        " ON CONFLICT (source) DO UPDATE SET kind = excluded.kind,"
                        " name = excluded.name, wanted = excluded.wanted",
                        error);

    if (r < 0)
        return r;
    query_text(&query, row->source);
    query_text(&query, row->kind);
    query_text(&query, row->name);
    query_u64(&query, row->wanted);
    query_u64(&query, row->created_at_usec);
    return query_run(&query, NULL, error);
}

int pools_delete(Store *store, const char *source, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "DELETE FROM pools WHERE source = ?", error);

    if (r < 0)
        return r;
    query_text(&query, source);
    return query_run(&query, NULL, error);
}

static void row_from_query(Query *query, PoolRow *row) {
    query_column_text(query, 0, row->source, sizeof(row->source));
    query_column_text(query, 1, row->kind, sizeof(row->kind));
    query_column_text(query, 2, row->name, sizeof(row->name));
    row->wanted = query_column_u64(query, 3);
    row->created_at_usec = query_column_u64(query, 4);
}

int pools_get(Store *store, const char *source, PoolRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "SELECT " COLUMNS " FROM pools WHERE source = ?", error);

    if (r < 0)
        return r;
    query_text(&query, source);
    r = query_step(&query, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no pool of %s", source);
    row_from_query(&query, row);
    return 0;
}

int pools_list(Store *store, PoolRow **rows, size_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    PoolRow *list = NULL;
    size_t n = 0, room = 0;
    int r = query_start(&query, store, "SELECT " COLUMNS " FROM pools ORDER BY created_at, source",
                        error);

    if (r < 0)
        return r;
    while ((r = query_step(&query, error)) > 0) {
        if (n == room) {
            room = room ? 2 * room : 8;
            list = reallocarray(list, room, sizeof(*list));
            if (!list)
                abort();
        }
        row_from_query(&query, &list[n++]);
    }
    if (r < 0) {
        free(list);
        return r;
    }
    *rows = list;
    *count = n;
    return 0;
}
