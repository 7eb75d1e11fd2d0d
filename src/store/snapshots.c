/* SPDX-License-Identifier: Apache-2.0 */

#include "store/snapshots.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "store/internal.h"

#define ID_PREFIX_MIN 4
#define COLUMNS                                                                                \
    "id, name, state, automatic, purpose, key, vm, vm_id, image, image_digest, parent, base, " \
    "layer, created_at, data"

/* A VM's running memory and its standby are members of its runtime. */
#define USED_BY_VM_ROW(id) "vms.snapshot = " id
#define USED_BY_VM_RUNTIME(id)                             \
    "json_extract(vms.runtime, '$.memory_snapshot') = " id \
    " OR json_extract(vms.runtime, '$.standby') = " id     \
    " OR json_extract(vms.runtime, '$.memory_owner') = " id

void snapshot_row_free(SnapshotRow *row) {
    json_decref(row->data);
    row->data = NULL;
}

void snapshot_rows_free(SnapshotRow *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        snapshot_row_free(&rows[i]);
    free(rows);
}

int snapshots_insert(Store *store, const SnapshotRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO snapshots (" COLUMNS
                        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        error);

    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, *row->name ? row->name : NULL);
    query_text(&query, row->state);
    query_u64(&query, row->automatic);
    query_text(&query, row->purpose);
    query_text(&query, row->key);
    query_text(&query, row->vm);
    query_text(&query, row->vm_id);
    query_text(&query, row->image);
    query_text(&query, row->image_digest);
    query_text(&query, row->parent);
    query_text(&query, row->base);
    query_text(&query, row->layer);
    query_u64(&query, row->created_at_usec);
    query_json(&query, row->data);
    r = query_run(&query, NULL, error);
    if (r == -EEXIST) {
        error_set(error, ERROR_CONFLICT, EEXIST, "there is a snapshot %s already", row->name);
        error_set_hint(error, "choose another name, or remove it with ramet snapshot rm");
    }
    return r;
}

int snapshots_update(Store *store, const SnapshotRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int changes;
    int r = query_start(&query, store,
                        "UPDATE snapshots SET state = ?, automatic = ?, purpose = ?, key = ?,"
                        " parent = ?, base = ?, layer = ?, data = ? WHERE id = ?",
                        error);

    if (r < 0)
        return r;
    query_text(&query, row->state);
    query_u64(&query, row->automatic);
    query_text(&query, row->purpose);
    query_text(&query, row->key);
    query_text(&query, row->parent);
    query_text(&query, row->base);
    query_text(&query, row->layer);
    query_json(&query, row->data);
    query_text(&query, row->id);
    r = query_run(&query, &changes, error);
    if (r < 0)
        return r;
    return changes ? 0
                   : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot %s", row->id);
}

static int row_from_query(Query *query, SnapshotRow *row, Error *error) {
    SnapshotRow found = {0};
    int r;

    query_column_text(query, 0, found.id, sizeof(found.id));
    query_column_text(query, 1, found.name, sizeof(found.name));
    query_column_text(query, 2, found.state, sizeof(found.state));
    found.automatic = query_column_u64(query, 3);
    query_column_text(query, 4, found.purpose, sizeof(found.purpose));
    query_column_text(query, 5, found.key, sizeof(found.key));
    query_column_text(query, 6, found.vm, sizeof(found.vm));
    query_column_text(query, 7, found.vm_id, sizeof(found.vm_id));
    query_column_text(query, 8, found.image, sizeof(found.image));
    query_column_text(query, 9, found.image_digest, sizeof(found.image_digest));
    query_column_text(query, 10, found.parent, sizeof(found.parent));
    query_column_text(query, 11, found.base, sizeof(found.base));
    query_column_text(query, 12, found.layer, sizeof(found.layer));
    found.created_at_usec = query_column_u64(query, 13);
    r = query_column_json(query, 14, &found.data, error);
    if (r < 0)
        return r;
    *row = found;
    return 0;
}

/* 1 and the row when exactly one fits, 0 when none does. */
static int get_where(Store *store, const char *condition, const char *value, SnapshotRow *row,
                     Error *error) {
    _cleanup_free_ char *sql = str_format("SELECT " COLUMNS " FROM snapshots WHERE %s", condition);
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);

    if (r < 0)
        return r;
    query_text(&query, value);
    r = query_step(&query, error);
    if (r <= 0)
        return r;
    r = row_from_query(&query, &found, error);
    if (r < 0)
        return r;
    r = query_step(&query, error);
    if (r < 0)
        return r;
    if (r > 0)
        return error_set(error, ERROR_CONFLICT, EEXIST, "that fits several snapshots");
    *row = found;
    found = (SnapshotRow){0};
    return 1;
}

static int not_found(const char *reference, Error *error) {
    error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot %s", reference);
    error_set_hint(error, "see ramet snapshot ls");
    return -ENOENT;
}

int snapshots_get(Store *store, const char *id, SnapshotRow *row, Error *error) {
    int r = get_where(store, "id = ?", id, row, error);

    if (r == 0)
        return not_found(id, error);
    return r < 0 ? r : 0;
}

static bool is_id_prefix(const char *text) {
    size_t size = strlen(text);

    return size >= ID_PREFIX_MIN && size < VM_ID_SIZE && strspn(text, "0123456789abcdef") == size;
}

int snapshots_find(Store *store, const char *reference, SnapshotRow *row, Error *error) {
    int r = get_where(store, "state = 'ready' AND name = ?", reference, row, error);

    if (r == 0 && is_id_prefix(reference)) {
        _cleanup_free_ char *pattern = str_format("%s*", reference);

        r = get_where(store, "state = 'ready' AND id GLOB ?", pattern, row, error);
        if (r < 0)
            return error_add_context(error, "%s", reference);
    }
    if (r == 0)
        return not_found(reference, error);
    return r < 0 ? r : 0;
}

int snapshots_find_key(Store *store, const char *key, const char *purpose, SnapshotRow *row,
                       Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "SELECT " COLUMNS " FROM snapshots WHERE key = ? AND purpose = ?"
                        " AND state = 'ready' ORDER BY created_at DESC LIMIT 1",
                        error);

    if (r < 0)
        return r;
    query_text(&query, key);
    query_text(&query, purpose);
    r = query_step(&query, error);
    if (r <= 0)
        return r;
    r = row_from_query(&query, row, error);
    return r < 0 ? r : 1;
}

int snapshots_list(Store *store, SnapshotRow **rows, size_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    SnapshotRow *list = NULL;
    size_t n = 0, room = 0;
    int r = query_start(&query, store, "SELECT " COLUMNS " FROM snapshots ORDER BY created_at, id",
                        error);

    if (r < 0)
        return r;
    while ((r = query_step(&query, error)) > 0) {
        if (n == room) {
            room = room ? 2 * room : 16;
            list = reallocarray(list, room, sizeof(*list));
            if (!list)
                abort();
        }
        r = row_from_query(&query, &list[n], error);
        if (r < 0)
            break;
        n++;
    }
    if (r < 0) {
        snapshot_rows_free(list, n);
        return r;
    }
    *rows = list;
    *count = n;
    return 0;
}

int snapshots_delete(Store *store, const char *id, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "DELETE FROM snapshots WHERE id = ?", error);

    if (r < 0)
        return r;
    query_text(&query, id);
    return query_run(&query, NULL, error);
}

int snapshots_count_users(Store *store, const char *id, SnapshotUsers *users, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(
        &query, store,
        "SELECT (SELECT count(*) FROM snapshots WHERE id <> ?1 AND (parent = ?1 OR base = ?1)),"
        " (SELECT count(*) FROM vms WHERE " USED_BY_VM_ROW(
            "?1") "),"
                  " (SELECT count(*) FROM vms WHERE " USED_BY_VM_RUNTIME("?1") ")",
        error);

    if (r < 0)
        return r;
    query_text(&query, id);
    r = query_step(&query, error);
    if (r < 0)
        return r;
    users->snapshots = query_column_u64(&query, 0);
    users->vms = query_column_u64(&query, 1);
    users->mapped = query_column_u64(&query, 2);
    return 0;
}

int snapshots_count_digest(Store *store, const char *image_digest, size_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r =
        query_start(&query, store, "SELECT count(*) FROM snapshots WHERE image_digest = ?", error);

    if (r < 0)
        return r;
    query_text(&query, image_digest);
    r = query_step(&query, error);
    if (r < 0)
        return r;
    *count = query_column_u64(&query, 0);
    return 0;
}

int snapshots_list_unused(Store *store, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                          Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    size_t n = 0;
    int r = query_start(
        &query, store,
        "SELECT id FROM snapshots AS s WHERE automatic AND state = 'ready' AND purpose <> 'cache'"
        " AND NOT EXISTS (SELECT 1 FROM snapshots AS o WHERE o.id <> s.id"
        "  AND (o.parent = s.id OR o.base = s.id))"
        " AND NOT EXISTS (SELECT 1 FROM vms WHERE " USED_BY_VM_ROW(
            "s.id") " OR " USED_BY_VM_RUNTIME("s.id") ")",
        error);

    if (r < 0)
        return r;
    while (n < max && (r = query_step(&query, error)) > 0)
        query_column_text(&query, 0, ids[n++], VM_ID_SIZE);
    if (r < 0)
        return r;
    *count = n;
    return 0;
}
