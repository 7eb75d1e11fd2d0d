/* SPDX-License-Identifier: Apache-2.0 */

#include "store/pools.h"

#include <errno.h>

#include "base/str.h"
#include "store/rows.h"

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
    return rows_run(store, "DELETE FROM pools WHERE source = ?", source, error);
}

static int read_row(Query *query, void *data, Error *error) {
    PoolRow *row = data;
    query_column_text(query, 0, row->source, sizeof(row->source));
    query_column_text(query, 1, row->kind, sizeof(row->kind));
    query_column_text(query, 2, row->name, sizeof(row->name));
    row->wanted = query_column_u64(query, 3);
    row->created_at_usec = query_column_u64(query, 4);
    return 0;
}

static const RowKind KIND = {.table = "pools",
                             .columns = COLUMNS,
                             .order = "created_at, source",
                             .what = "pool of",
                             .size = sizeof(PoolRow),
                             .read = read_row};

int pools_get(Store *store, const char *source, PoolRow *row, Error *error) {
    int r = rows_get(store, &KIND, "source = ?", source, NULL, row, error);
    if (r == 0)
        return rows_not_found(&KIND, source, error);
    return r < 0 ? r : 0;
}

int pools_list(Store *store, PoolRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}
