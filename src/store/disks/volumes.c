/* SPDX-License-Identifier: Apache-2.0 */

#include "store/disks/volumes.h"

#include <errno.h>

#include "base/str.h"
#include "store/rows.h"

#define COLUMNS "id, name, created_at, detail"

void volume_row_free(VolumeRow *row) {
    json_decref(row->detail);
    row->detail = NULL;
}

int volumes_insert(Store *store, const VolumeRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r =
        query_start(&query, store, "INSERT INTO volumes (" COLUMNS ") VALUES (?, ?, ?, ?)", error);
    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, row->name);
    query_u64(&query, row->created_at_usec);
    query_json(&query, row->detail);
    r = query_run(&query, NULL, error);
    if (r == -EEXIST) {
        error_set(error, ERROR_CONFLICT, EEXIST, "there is a volume %s already", row->name);
        error_set_hint(error, "choose another name, or remove it with ramet volume rm");
    }
    return r;
}

static int read_row(Query *query, void *row, Error *error) {
    VolumeRow found = {0};
    int r = query_column_json(query, 3, &found.detail, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, found.id, sizeof(found.id));
    query_column_text(query, 1, found.name, sizeof(found.name));
    found.created_at_usec = query_column_u64(query, 2);
    *(VolumeRow *)row = found;
    return 0;
}

static void free_row(void *row) {
    volume_row_free(row);
}

static const RowKind KIND = {.table = "volumes",
                             .columns = COLUMNS,
                             .order = "name",
                             .what = "volume",
                             .hint = "see ramet volume ls",
                             .size = sizeof(VolumeRow),
                             .read = read_row,
                             .free = free_row};

int volumes_find(Store *store, const char *reference, VolumeRow *row, Error *error) {
    return rows_find(store, &KIND, "1", reference, row, error);
}

int volumes_count(Store *store, const char *id, uint64_t *count, Error *error) {
    return rows_count(store, "SELECT count(*) FROM volumes WHERE id = ?", id, count, error);
}

int volumes_list(Store *store, VolumeRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

void volume_rows_free(VolumeRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

static int delete_unused(Store *store, const VolumeRow *row, Error *error) {
    uint64_t users;
    int r = rows_count(store, "SELECT count(*) FROM disk_uses WHERE volume = ?", row->id, &users,
                       error);
    if (r < 0)
        return r;
    if (users == 0)
        return rows_run(store, "DELETE FROM volumes WHERE id = ?", row->id, error);
    error_set(error, ERROR_CONFLICT, EBUSY, "volume %s is in use", row->name);
    error_set_hint(error, "ramet volume inspect %s shows by whom", row->name);
    return -EBUSY;
}

int volumes_delete(Store *store, const VolumeRow *row, Error *error) {
    int r = store_nest(store, error);
    return r < 0 ? r : store_nest_end(store, delete_unused(store, row, error), error);
}
