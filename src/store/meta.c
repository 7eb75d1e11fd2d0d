/* SPDX-License-Identifier: Apache-2.0 */

#include "store/meta.h"

#include "base/str.h"
#include "store/query.h"

int meta_get(Store *store, const char *key, char **value, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "SELECT value FROM meta WHERE key = ?", error);
    if (r < 0)
        return r;
    query_text(&query, key);
    r = query_step(&query, error);
    if (r < 0)
        return r;
    *value = r ? str_copy((const char *)sqlite3_column_text(query.stmt, 0)) : NULL;
    return 0;
}

int meta_set(Store *store, const char *key, const char *value, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO meta (key, value) VALUES (?, ?)"
                        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                        error);
    if (r < 0)
        return r;
    query_text(&query, key);
    query_text(&query, value);
    return query_run(&query, NULL, error);
}
