/* SPDX-License-Identifier: Apache-2.0 */
#include "store/query.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

int query_start(Query *query, Store *store, const char *sql, Error *error) {
    int result, r = 0;
    (void)pthread_mutex_lock(&store->mutex);
    *query = (Query){.store = store, .next = 1};
    result = sqlite3_prepare_v2(store->connection, sql, -1, &query->stmt, NULL);
    if (result != SQLITE_OK) {
        r = store_fail(store->connection, result, error);
        query_end(query);
    }
    return r;
}

void query_end(Query *query) {
    if (!query->store)
        return;
    (void)sqlite3_finalize(query->stmt);
    (void)pthread_mutex_unlock(&query->store->mutex);
    *query = QUERY_INIT;
}

/* Binding fails only out of memory or for a wrong index; the step that follows would then write
 * NULL. Neither may pass unseen. */
static void bound(int result) {
    if (result != SQLITE_OK) {
        log_error("cannot bind a value: %s", sqlite3_errstr(result));
        abort();
    }
}

void query_text(Query *query, const char *text) {
    bound(text ? sqlite3_bind_text(query->stmt, query->next, text, -1, SQLITE_TRANSIENT)
               : sqlite3_bind_null(query->stmt, query->next));
    query->next++;
}

void query_u64(Query *query, uint64_t value) {
    bound(sqlite3_bind_int64(query->stmt, query->next++, (sqlite3_int64)value));
}

void query_json(Query *query, const json_t *json) {
    _cleanup_free_ char *text = json ? json_to_text(json) : NULL;
    query_text(query, text);
}

int query_fail(Query *query, int result, Error *error) {
    return store_fail(query->store->connection, result, error);
}

int query_step(Query *query, Error *error) {
    int result = sqlite3_step(query->stmt);
    if (result == SQLITE_ROW)
        return 1;
    if (result == SQLITE_DONE)
        return 0;
    return query_fail(query, result, error);
}

int query_run(Query *query, int *changes, Error *error) {
    int r = query_step(query, error);
    if (r < 0)
        return r;
    if (changes)
        *changes = sqlite3_changes(query->store->connection);
    return 0;
}

uint64_t query_last_id(Query *query) {
    return (uint64_t)sqlite3_last_insert_rowid(query->store->connection);
}

void query_column_text(Query *query, int column, char *text, size_t room) {
    const char *value = (const char *)sqlite3_column_text(query->stmt, column);
    (void)snprintf(text, room, "%s", value ? value : "");
}

uint64_t query_column_u64(Query *query, int column) {
    return (uint64_t)sqlite3_column_int64(query->stmt, column);
}

int query_column_json(Query *query, int column, json_t **json, Error *error) {
    const char *text = (const char *)sqlite3_column_text(query->stmt, column);
    size_t size = (size_t)sqlite3_column_bytes(query->stmt, column);
    if (!text) {
        *json = NULL;
        return 0;
    }
    if (json_parse("the store", text, size, json, error) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the store holds a value that is no JSON");
    return 0;
}
