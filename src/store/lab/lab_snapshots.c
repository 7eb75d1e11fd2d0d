/* SPDX-License-Identifier: Apache-2.0 */

#include "store/lab/lab_snapshots.h"

#include <errno.h>

#include "base/str.h"
#include "store/rows.h"

#define COLUMNS "id, name, lab, lab_id, created_at, data"

void lab_snapshot_row_free(LabSnapshotRow *row) {
    frozen_lab_free(&row->data);
}

static int insert_row(Store *store, const LabSnapshotRow *row, Error *error) {
    _cleanup_json_ json_t *data = frozen_lab_to_json(&row->data);
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO lab_snapshots (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)", error);
    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, row->name);
    query_text(&query, row->lab);
    query_text(&query, row->lab_id);
    query_u64(&query, row->created_at_usec);
    query_json(&query, data);
    r = query_run(&query, NULL, &failure);
    if (r >= 0 || failure.kind != ERROR_CONFLICT)
        return r < 0 ? error_move(error, &failure) : 0;
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a lab's snapshot %s already", row->name);
    error_set_hint(error, "choose another name, or remove it with ramet lab snapshot rm %s",
                   row->name);
    return -EEXIST;
}

static int insert_member(Store *store, const char *id, const char *snapshot, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO lab_snapshot_members (snapshot, lab_snapshot) VALUES (?, ?)",
                        error);
    if (r < 0)
        return r;
    query_text(&query, snapshot);
    query_text(&query, id);
    return query_run(&query, NULL, error);
}

int lab_snapshots_insert(Store *store, const LabSnapshotRow *row, Error *error) {
    int r = store_begin(store, error);
    if (r < 0)
        return r;
    r = insert_row(store, row, error);
    for (size_t i = 0; r >= 0 && i < row->data.n_vms; i++)
        r = insert_member(store, row->id, row->data.vms[i].snapshot, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

static int check_unused(Store *store, const LabSnapshotRow *row, Error *error) {
    uint64_t labs = 0;
    int r = rows_count(store, "SELECT count(*) FROM labs WHERE snapshot = ? AND state <> 'warm'",
                       row->id, &labs, error);
    if (r < 0 || labs == 0)
        return r;
    error_set(error, ERROR_CONFLICT, EBUSY, "%llu lab%s grow%s from the snapshot %s",
              (unsigned long long)labs, labs == 1 ? "" : "s", labs == 1 ? "s" : "", row->name);
    error_set_hint(error, "see ramet lab ls, and end them first with ramet lab down");
    return -EBUSY;
}

int lab_snapshots_delete(Store *store, const LabSnapshotRow *row, Error *error) {
    int r = store_begin(store, error);
    if (r < 0)
        return r;
    r = check_unused(store, row, error);
    if (r >= 0)
        r = rows_run(store, "DELETE FROM lab_snapshots WHERE id = ?", row->id, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

static int read_row(Query *query, void *data, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    LabSnapshotRow *row = data;
    int r = query_column_json(query, 5, &json, error);
    if (r >= 0)
        r = frozen_lab_from_json(json, &row->data, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, row->id, sizeof(row->id));
    query_column_text(query, 1, row->name, sizeof(row->name));
    query_column_text(query, 2, row->lab, sizeof(row->lab));
    query_column_text(query, 3, row->lab_id, sizeof(row->lab_id));
    row->created_at_usec = query_column_u64(query, 4);
    return 0;
}

static void free_row(void *row) {
    lab_snapshot_row_free(row);
}

static const RowKind KIND = {.table = "lab_snapshots",
                             .columns = COLUMNS,
                             .order = "created_at, id",
                             .what = "lab's snapshot",
                             .hint = "see ramet lab snapshot ls",
                             .size = sizeof(LabSnapshotRow),
                             .read = read_row,
                             .free = free_row};

void lab_snapshot_rows_free(LabSnapshotRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int lab_snapshots_find(Store *store, const char *reference, LabSnapshotRow *row, Error *error) {
    return rows_find(store, &KIND, "1", reference, row, error);
}

int lab_snapshots_get(Store *store, const char *id, LabSnapshotRow *row, Error *error) {
    return rows_get_by_id(store, &KIND, id, row, error);
}

int lab_snapshots_list(Store *store, LabSnapshotRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

int lab_snapshots_check_alone(Store *store, const char *snapshot, Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow row = {0};
    int r = rows_get(store, &KIND,
                     "id = (SELECT lab_snapshot FROM lab_snapshot_members WHERE snapshot = ?)",
                     snapshot, NULL, &row, error);
    if (r <= 0)
        return r;
    error_set(error, ERROR_CONFLICT, EBUSY, "it is part of the snapshot %s of lab %s", row.name,
              row.lab);
    error_set_hint(error, "that goes as a whole: ramet lab snapshot rm %s", row.name);
    return -EBUSY;
}
