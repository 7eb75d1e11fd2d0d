/* SPDX-License-Identifier: Apache-2.0 */

#include "store/events.h"

#include <errno.h>

#include "base/clock.h"
#include "store/rows.h"

/* Old events go in blocks: one DELETE for each TRIM_EVERY that are added. */
#define TRIM_EVERY 1000

static int trim(Store *store, uint64_t newest, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r;
    if (newest % TRIM_EVERY != 0 || newest <= EVENTS_KEPT)
        return 0;
    r = query_start(&query, store, "DELETE FROM events WHERE id <= ?", error);
    if (r < 0)
        return r;
    query_u64(&query, newest - EVENTS_KEPT);
    return query_run(&query, NULL, error);
}

static int insert(Store *store, const char *type, const char *vm, const char *name,
                  const json_t *detail, uint64_t *id, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO events (at, type, vm, name, detail) VALUES (?, ?, ?, ?, ?)",
                        error);

    if (r < 0)
        return r;
    query_u64(&query, clock_realtime_usec());
    query_text(&query, type);
    query_text(&query, vm);
    query_text(&query, name);
    query_json(&query, detail);
    r = query_run(&query, NULL, error);
    if (r < 0)
        return r;
    *id = query_last_id(&query);
    return 0;
}

int events_add(Store *store, const char *type, const char *vm, const char *name,
               const json_t *detail, uint64_t *id, Error *error) {
    uint64_t added;
    int r = insert(store, type, vm, name, detail, &added, error);

    if (r < 0)
        return r;
    if (id)
        *id = added;
    return trim(store, added, error);
}

static json_t *nullable(Query *query, int column) {
    const char *text = (const char *)sqlite3_column_text(query->stmt, column);
    return text ? json_string(text) : json_null();
}

static int event_from_row(Query *query, json_t **event, Error *error) {
    _cleanup_free_ char *at = clock_format_realtime(query_column_u64(query, 1));
    json_t *detail;
    int r = query_column_json(query, 5, &detail, error);
    if (r < 0)
        return r;
    *event = json_pack("{s:I, s:s, s:s, s:o, s:o, s:o}", "id",
                       (json_int_t)query_column_u64(query, 0), "at", at, "type",
                       (const char *)sqlite3_column_text(query->stmt, 2), "vm", nullable(query, 3),
                       "name", nullable(query, 4), "detail", detail ? detail : json_null());
    return *event ? 0 : error_set(error, ERROR_CORRUPT, EBADMSG, "the store holds a bad event");
}

int events_list(Store *store, uint64_t since, size_t max, json_t **array, Error *error) {
    _cleanup_json_ json_t *list = json_array();
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "SELECT id, at, type, vm, name, detail FROM events WHERE id > ?"
                        " ORDER BY id LIMIT ?",
                        error);
    if (r < 0)
        return r;
    query_u64(&query, since);
    query_u64(&query, max);
    while ((r = query_step(&query, error)) > 0) {
        json_t *event = NULL;
        r = event_from_row(&query, &event, error);
        if (r < 0)
            return r;
        (void)json_array_append_new(list, event);
    }
    if (r < 0)
        return r;
    *array = TAKE_PTR(list);
    return 0;
}

int events_last(Store *store, uint64_t *id, Error *error) {
    return rows_count(store, "SELECT coalesce(max(id), 0) FROM events", NULL, id, error);
}
