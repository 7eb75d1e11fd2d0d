/* SPDX-License-Identifier: Apache-2.0 */

#include "store/disks/layers.h"

#include <errno.h>

#include "base/str.h"
#include "store/row_fields.h"
#include "store/rows.h"

#define COLUMNS "id, parent, base_path, virtual_bytes, depth, flat, sha256, stamp"

void layer_row_free(LayerRow *row) {
    free(row->base_path);
    row->base_path = NULL;
}

static void bind_stamp(Query *query, const FileStamp *stamp) {
    _cleanup_json_ json_t *json =
        row_fields_write(file_stamp_fields, ARRAY_SIZE(file_stamp_fields), stamp, NULL);
    query_json(query, stamp->inode ? json : NULL);
}

int layers_insert(Store *store, const LayerRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO layers (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)", error);
    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, row->parent);
    query_text(&query, row->base_path);
    query_u64(&query, row->virtual_bytes);
    query_u64(&query, row->depth);
    query_text(&query, row->flat);
    query_text(&query, row->sha256);
    bind_stamp(&query, &row->stamp);
    return query_run(&query, NULL, error);
}

/* What a later version put into the stamp stays there. */
int layers_update(Store *store, const LayerRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "UPDATE layers SET flat = ?, sha256 = ?,"
                        " stamp = json_patch(coalesce(stamp, '{}'), ?) WHERE id = ?",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->flat);
    query_text(&query, row->sha256);
    bind_stamp(&query, &row->stamp);
    query_text(&query, row->id);
    return query_run(&query, NULL, error);
}

static int read_row(Query *query, void *row, Error *error) {
    _cleanup_json_ json_t *stamp = NULL;
    LayerRow found = {0};
    int r = query_column_json(query, 7, &stamp, error);
    if (r < 0)
        return r;
    json_decref(
        row_fields_read(file_stamp_fields, ARRAY_SIZE(file_stamp_fields), &found.stamp, stamp));
    query_column_text(query, 0, found.id, sizeof(found.id));
    query_column_text(query, 1, found.parent, sizeof(found.parent));
    found.base_path = str_copy((const char *)sqlite3_column_text(query->stmt, 2));
    found.virtual_bytes = query_column_u64(query, 3);
    found.depth = query_column_u64(query, 4);
    query_column_text(query, 5, found.flat, sizeof(found.flat));
    query_column_text(query, 6, found.sha256, sizeof(found.sha256));
    *(LayerRow *)row = found;
    return 0;
}

static void free_row(void *row) {
    layer_row_free(row);
}

static const RowKind KIND = {.table = "layers",
                             .columns = COLUMNS,
                             .order = "id",
                             .what = "layer",
                             .size = sizeof(LayerRow),
                             .read = read_row,
                             .free = free_row};

int layers_get(Store *store, const char *id, LayerRow *row, Error *error) {
    return rows_get_by_id(store, &KIND, id, row, error);
}

int layers_list(Store *store, LayerRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

void layer_rows_free(LayerRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int layers_delete(Store *store, const char *id, Error *error) {
    return rows_run(store, "DELETE FROM layers WHERE id = ?", id, error);
}

/* A VM's layers are members of its runtime: the one that its overlay stands on, and the one that is
 * just being made of its overlay. */
#define USERS(id)                                                                \
    "(SELECT count(*) FROM layers AS o WHERE o.parent = " id                     \
    ") + (SELECT count(*) FROM snapshots WHERE layer = " id                      \
    ") + (SELECT count(*) FROM vms WHERE json_extract(runtime, '$.layer') = " id \
    " OR json_extract(runtime, '$.freezing.layer') = " id                        \
    ") + (SELECT count(*) FROM disk_uses WHERE layer = " id                      \
    ") + (SELECT count(*) FROM disk_uses WHERE freezing = " id ")"

int layers_count_users(Store *store, const char *id, uint64_t *users, Error *error) {
    return rows_count(store, "SELECT " USERS("?1"), id, users, error);
}

int layers_list_unused(Store *store, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                       Error *error) {
    return rows_list_ids(store, "SELECT id FROM layers AS l WHERE " USERS("l.id") " = 0", ids, max,
                         count, error);
}
