/* SPDX-License-Identifier: Apache-2.0 */

#include "store/snapshots.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "store/disks/disk_uses.h"
#include "store/rows.h"

#define COLUMNS                                                                                \
    "id, name, state, automatic, purpose, key, vm, vm_id, image, image_digest, parent, base, " \
    "layer, created_at, data"

/* A VM's running memory and its standby are members of its runtime. */
#define USED_BY_VM_ROW(id) "vms.snapshot = " id
#define USED_BY_VM_RUNTIME(id)                               \
    "json_extract(vms.runtime, '$.memory_snapshot') = " id   \
    " OR json_extract(vms.runtime, '$.standby') = " id       \
    " OR (json_extract(vms.runtime, '$.memory_owner') = " id \
    " AND json_extract(vms.runtime, '$.memory_adopted') IS NOT 1)"

static const char *const states[] = {
    [SNAPSHOT_CREATING] = "creating",
    [SNAPSHOT_READY] = "ready",
    [SNAPSHOT_REMOVING] = "removing",
};

const char *snapshot_state_name(SnapshotState state) {
    return states[state];
}

static void bind_data(Query *query, const SnapshotRow *row) {
    _cleanup_json_ json_t *data = snapshot_data_to_json(&row->data);
    query_json(query, data);
}

void snapshot_row_free(SnapshotRow *row) {
    snapshot_data_free(&row->data);
}

static int insert_row(Store *store, const SnapshotRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO snapshots (" COLUMNS
                        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, *row->name ? row->name : NULL);
    query_text(&query, snapshot_state_name(row->state));
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
    bind_data(&query, row);
    r = query_run(&query, NULL, error);
    if (r == -EEXIST) {
        error_set(error, ERROR_CONFLICT, EEXIST, "there is a snapshot %s already", row->name);
        error_set_hint(error, "choose another name, or remove it with ramet snapshot rm");
    }
    return r;
}

static int run_update(Query *query, const char *id, Error *error) {
    int changes;
    int r = query_run(query, &changes, error);
    if (r < 0)
        return r;
    return changes ? 0 : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot %s", id);
}

static int update_row(Store *store, const SnapshotRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "UPDATE snapshots SET state = ?, automatic = ?, purpose = ?, key = ?,"
                        " parent = ?, base = ?, layer = ?, data = ? WHERE id = ?",
                        error);
    if (r < 0)
        return r;
    query_text(&query, snapshot_state_name(row->state));
    query_u64(&query, row->automatic);
    query_text(&query, row->purpose);
    query_text(&query, row->key);
    query_text(&query, row->parent);
    query_text(&query, row->base);
    query_text(&query, row->layer);
    bind_data(&query, row);
    query_text(&query, row->id);
    return run_update(&query, row->id, error);
}

/* The row, and what it has of disks, as one. */
static int put(Store *store, const SnapshotRow *row,
               int (*write)(Store *store, const SnapshotRow *row, Error *error), Error *error) {
    const VmMounts *mounts = &row->data.spec.mounts;
    int r;
    if (mounts->count == 0)
        return write(store, row, error);
    r = store_nest(store, error);
    if (r < 0)
        return r;
    r = write(store, row, error);
    if (r >= 0)
        r = disk_uses_write(store, row->id, mounts, &row->data.disks, error);
    return store_nest_end(store, r, error);
}

int snapshots_insert(Store *store, const SnapshotRow *row, Error *error) {
    return put(store, row, insert_row, error);
}

int snapshots_update(Store *store, const SnapshotRow *row, Error *error) {
    return put(store, row, update_row, error);
}

int snapshots_set_written(Store *store, const char *id, const FileStamp *memory, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "UPDATE snapshots SET data = json_set(json_remove(data, '$.unwritten'),"
                        " '$.files.memory.stamp.size', ?, '$.files.memory.stamp.mtime_ns', ?,"
                        " '$.files.memory.stamp.inode', ?) WHERE id = ?",
                        error);
    if (r < 0)
        return r;
    query_u64(&query, memory->size);
    query_u64(&query, memory->mtime_ns);
    query_u64(&query, memory->inode);
    query_text(&query, id);
    return run_update(&query, id, error);
}

int snapshots_set_digests(Store *store, const char *id, const SnapshotFile *memory,
                          uint64_t verified_at_usec, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "UPDATE snapshots SET data = json_set(data, '$.files.memory.tree', ?,"
                        " '$.files.memory.sha256', ?, '$.verified_at_usec', ?) WHERE id = ?",
                        error);
    if (r < 0)
        return r;
    query_text(&query, memory->tree);
    query_text(&query, memory->sha256);
    query_u64(&query, verified_at_usec);
    query_text(&query, id);
    return run_update(&query, id, error);
}

int snapshots_rename_vm(Store *store, const char *vm_id, const char *name, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "UPDATE snapshots SET vm = ? WHERE vm_id = ?", error);
    if (r < 0)
        return r;
    query_text(&query, name);
    query_text(&query, vm_id);
    return query_run(&query, NULL, error);
}

static int read_state(Query *query, SnapshotState *state, Error *error) {
    char name[16];
    query_column_text(query, 2, name, sizeof(name));
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (str_equal(states[i], name)) {
            *state = (SnapshotState)i;
            return 0;
        }
    return error_set(error, ERROR_CORRUPT, EBADMSG, "a snapshot's state is \"%s\"", name);
}

static int read_data(Query *query, SnapshotData *data, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    int r = query_column_json(query, 14, &json, error);
    if (r >= 0)
        snapshot_data_from_json(json, data);
    return r;
}

static int read_row(Query *query, void *row, Error *error) {
    SnapshotRow found = {0};
    int r = read_state(query, &found.state, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, found.id, sizeof(found.id));
    query_column_text(query, 1, found.name, sizeof(found.name));
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
    r = read_data(query, &found.data, error);
    if (r < 0)
        return r;
    *(SnapshotRow *)row = found;
    return 0;
}

static void free_row(void *row) {
    snapshot_row_free(row);
}

static const RowKind KIND = {.table = "snapshots",
                             .columns = COLUMNS,
                             .order = "created_at, id",
                             .what = "snapshot",
                             .hint = "see ramet snapshot ls",
                             .size = sizeof(SnapshotRow),
                             .read = read_row,
                             .free = free_row};

int snapshots_get(Store *store, const char *id, SnapshotRow *row, Error *error) {
    return rows_get_by_id(store, &KIND, id, row, error);
}

int snapshots_find(Store *store, const char *reference, SnapshotRow *row, Error *error) {
    return rows_find(store, &KIND, "state = 'ready'", reference, row, error);
}

int snapshots_find_key(Store *store, const char *key, const char *purpose, SnapshotRow *row,
                       Error *error) {
    return rows_get(store, &KIND,
                    "key = ? AND purpose = ? AND state = 'ready'"
                    " ORDER BY created_at DESC LIMIT 1",
                    key, purpose, row, error);
}

int snapshots_list(Store *store, SnapshotRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

void snapshot_rows_free(SnapshotRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int snapshots_delete(Store *store, const char *id, Error *error) {
    return rows_run(store, "DELETE FROM snapshots WHERE id = ?", id, error);
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

int snapshots_list_unused(Store *store, char (*ids)[VM_ID_SIZE], size_t max, size_t *count,
                          Error *error) {
    return rows_list_ids(
        store,
        "SELECT id FROM snapshots AS s WHERE automatic AND state = 'ready'"
        " AND purpose NOT IN ('cache', 'step')"
        " AND NOT EXISTS (SELECT 1 FROM snapshots AS o WHERE o.id <> s.id"
        "  AND (o.parent = s.id OR o.base = s.id))"
        " AND NOT EXISTS (SELECT 1 FROM lab_snapshot_members WHERE snapshot = s.id)"
        " AND NOT EXISTS (SELECT 1 FROM vms WHERE " USED_BY_VM_ROW(
            "s.id") " OR " USED_BY_VM_RUNTIME("s.id") ")",
        ids, max, count, error);
}
