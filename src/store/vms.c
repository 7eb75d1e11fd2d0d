/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vms.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/rows.h"

#define COLUMNS                                                                                \
    "id, name, state, image, image_digest, snapshot, mac, uid, remove, attached, created_at, " \
    "spec, runtime"

void vm_row_free(VmRow *row) {
    json_decref(row->spec);
    json_decref(row->runtime);
    row->spec = row->runtime = NULL;
}

static void bind_row(Query *query, const VmRow *row) {
    query_text(query, row->id);
    query_text(query, row->name);
    query_text(query, row->state);
    query_text(query, row->image);
    query_text(query, row->image_digest);
    query_text(query, row->snapshot);
    query_text(query, row->mac);
    query_u64(query, row->uid);
    query_u64(query, row->remove);
    query_u64(query, row->attached);
    query_u64(query, row->created_at_usec);
    query_json(query, row->spec);
    query_json(query, row->runtime);
}

/* SQLite names the column that was not unique. */
static int explain_conflict(const VmRow *row, Error *error) {
    _cleanup_free_ char *text = str_copy(error ? error_message(error) : "vms.name");

    if (strstr(text, "vms.mac") || strstr(text, "vms.uid") || strstr(text, "vms.id"))
        return error_set(error, ERROR_CONFLICT, EAGAIN, "%s is taken", text);
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a VM %s already", row->name);
    error_set_hint(error, "choose another name, or remove it with ramet rm");
    return -EEXIST;
}

int vms_insert(Store *store, const VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(
        &query, store,
        "INSERT INTO vms (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", error);

    if (r < 0)
        return r;
    bind_row(&query, row);
    r = query_run(&query, NULL, &failure);
    if (r == -EEXIST)
        r = explain_conflict(row, &failure);
    return r < 0 ? error_move(error, &failure) : 0;
}

int vms_update(Store *store, const VmRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int changes;
    int r = query_start(&query, store,
                        "UPDATE vms SET state = ?, spec = ?, runtime = ?, remove = ?, attached = ?"
                        " WHERE id = ? AND name = ?",
                        error);

    if (r < 0)
        return r;
    query_text(&query, row->state);
    query_json(&query, row->spec);
    query_json(&query, row->runtime);
    query_u64(&query, row->remove);
    query_u64(&query, row->attached);
    query_text(&query, row->id);
    query_text(&query, row->name);
    r = query_run(&query, &changes, error);
    if (r < 0)
        return r;
    return changes ? 0 : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no VM %s", row->name);
}

static int read_row(Query *query, void *row, Error *error) {
    VmRow found = {0};
    int r;

    query_column_text(query, 0, found.id, sizeof(found.id));
    query_column_text(query, 1, found.name, sizeof(found.name));
    query_column_text(query, 2, found.state, sizeof(found.state));
    query_column_text(query, 3, found.image, sizeof(found.image));
    query_column_text(query, 4, found.image_digest, sizeof(found.image_digest));
    query_column_text(query, 5, found.snapshot, sizeof(found.snapshot));
    query_column_text(query, 6, found.mac, sizeof(found.mac));
    found.uid = (uint32_t)query_column_u64(query, 7);
    found.remove = query_column_u64(query, 8);
    found.attached = query_column_u64(query, 9);
    found.created_at_usec = query_column_u64(query, 10);
    r = query_column_json(query, 11, &found.spec, error);
    if (r >= 0)
        r = query_column_json(query, 12, &found.runtime, error);
    if (r < 0) {
        vm_row_free(&found);
        return r;
    }
    *(VmRow *)row = found;
    return 0;
}

static void free_row(void *row) {
    vm_row_free(row);
}

static const RowKind KIND = {.table = "vms",
                             .columns = COLUMNS,
                             .order = "created_at, id",
                             .what = "VM",
                             .hint = "see ramet ps -a",
                             .size = sizeof(VmRow),
                             .read = read_row,
                             .free = free_row};

int vms_set_snapshot(Store *store, const char *id, const char *snapshot, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "UPDATE vms SET snapshot = ? WHERE id = ?", error);

    if (r < 0)
        return r;
    query_text(&query, snapshot);
    query_text(&query, id);
    return query_run(&query, NULL, error);
}

int vms_claim_warm(Store *store, const char *snapshot, const char *name, const char *image,
                   VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    VmRow taken = {0};
    int r = query_start(&query, store,
                        "UPDATE vms SET state = 'creating', name = ?, image = ?, created_at = ?"
                        " WHERE id = (SELECT id FROM vms WHERE state = 'warm' AND snapshot = ?"
                        " ORDER BY created_at, id LIMIT 1) RETURNING " COLUMNS,
                        error);

    if (r < 0)
        return r;
    (void)snprintf(taken.name, sizeof(taken.name), "%s", name);
    query_text(&query, name);
    query_text(&query, image);
    query_u64(&query, clock_realtime_usec());
    query_text(&query, snapshot);
    r = query_step(&query, &failure);
    if (r == -EEXIST)
        r = explain_conflict(&taken, &failure);
    if (r <= 0)
        return r < 0 ? error_move(error, &failure) : 0;
    r = read_row(&query, &taken, error);
    if (r >= 0)
        r = query_step(&query, error); /* ends the statement, and so the change */
    if (r < 0) {
        vm_row_free(&taken);
        return r;
    }
    *row = taken;
    return 1;
}

int vms_release_warm(Store *store, const char *id, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "UPDATE vms SET state = 'warm', name = 'warm-' || id"
                        " WHERE id = ? AND state = 'creating'",
                        error);

    if (r < 0)
        return r;
    query_text(&query, id);
    return query_run(&query, NULL, error);
}

int vms_get(Store *store, const char *id, VmRow *row, Error *error) {
    return rows_get_by_id(store, &KIND, id, row, error);
}

int vms_find(Store *store, const char *reference, VmRow *row, Error *error) {
    return rows_find(store, &KIND, "1", reference, row, error);
}

int vms_list(Store *store, VmRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);

    if (r >= 0)
        *rows = list;
    return r;
}

void vm_rows_free(VmRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int vms_delete(Store *store, const char *id, Error *error) {
    return rows_run(store, "DELETE FROM vms WHERE id = ?", id, error);
}

int vms_count_digest(Store *store, const char *image_digest, size_t *count, Error *error) {
    return rows_count(store, "SELECT count(*) FROM vms WHERE image_digest = ?", image_digest, count,
                      error);
}

int vms_pick_uid(Store *store, uint32_t first, uint32_t count, uint32_t *uid, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    uint64_t next = first;
    int r = query_start(&query, store, "SELECT uid FROM vms WHERE uid >= ? ORDER BY uid", error);

    if (r < 0)
        return r;
    query_u64(&query, first);
    while ((r = query_step(&query, error)) > 0 && query_column_u64(&query, 0) == next)
        next++;
    if (r < 0)
        return r;
    if (next >= (uint64_t)first + count) {
        error_set(error, ERROR_FAILED, EUSERS, "all %u users for VMs are taken", count);
        error_set_hint(error, "widen uid_range in config.json");
        return -EUSERS;
    }
    *uid = (uint32_t)next;
    return 0;
}
