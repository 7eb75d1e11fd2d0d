/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vms.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/disks/disk_uses.h"
#include "store/rows.h"

#define COLUMNS                                                                                \
    "id, name, state, image, image_digest, snapshot, mac, uid, remove, attached, created_at, " \
    "spec, runtime, lab"

void vm_row_free(VmRow *row) {
    vm_spec_free(&row->spec);
    vm_runtime_free(&row->runtime);
}

VmAddress vm_address(const VmRow *row, size_t index) {
    const VmRuntime *run = &row->runtime;
    VmAddress address = {.mac = ""};
    if (index > 0)
        return index <= run->further.count ? run->further.items[index - 1] : address;
    str_set(address.mac, row->mac);
    str_set(address.ip, run->ip);
    str_set(address.ip6, run->ip6);
    return address;
}

void vm_set_address(VmRow *row, size_t index, const VmAddress *address) {
    VmRuntime *run = &row->runtime;
    if (index > 0) {
        run->further.items[index - 1] = *address;
        run->further.count = MAX_OF(run->further.count, index);
        return;
    }
    str_set(row->mac, address->mac);
    str_set(run->ip, address->ip);
    str_set(run->ip6, address->ip6);
}

static bool is_tended(const VmRow *row) {
    return !vm_policy_is_none(&row->spec.policy) || row->runtime.timers.dozing;
}

/* Specification and runtime. */
static void bind_parts(Query *query, const VmRow *row) {
    _cleanup_json_ json_t *spec = vm_spec_to_json(&row->spec);
    _cleanup_json_ json_t *runtime = vm_runtime_to_json(&row->runtime);
    query_json(query, spec);
    query_json(query, runtime);
}

static void bind_row(Query *query, const VmRow *row) {
    query_text(query, row->id);
    query_text(query, row->name);
    query_text(query, vm_state_name(row->state));
    query_text(query, row->image);
    query_text(query, row->image_digest);
    query_text(query, row->snapshot);
    query_text(query, row->mac);
    query_u64(query, row->uid);
    query_u64(query, row->remove);
    query_u64(query, row->attached);
    query_u64(query, row->created_at_usec);
    bind_parts(query, row);
    query_text(query, *row->lab ? row->lab : NULL);
    query_u64(query, vm_network_is_named(vm_spec_network(&row->spec)));
    query_u64(query, is_tended(row));
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

static int insert_row(Store *store, const VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO vms (" COLUMNS ", leased, tended)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        error);
    if (r < 0)
        return r;
    bind_row(&query, row);
    r = query_run(&query, NULL, &failure);
    if (r == -EEXIST)
        r = explain_conflict(row, &failure);
    return r < 0 ? error_move(error, &failure) : 0;
}

int vms_insert(Store *store, const VmRow *row, Error *error) {
    int r;
    if (row->spec.mounts.count == 0)
        return insert_row(store, row, error);
    r = store_nest(store, error);
    if (r < 0)
        return r;
    r = insert_row(store, row, error);
    if (r >= 0)
        r = disk_uses_write(store, row->id, &row->spec.mounts, &row->runtime.disks, error);
    return store_nest_end(store, r, error);
}

static int update_row(Store *store, const VmRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int changes;
    int r = query_start(&query, store,
                        "UPDATE vms SET state = ?, mac = ?, spec = ?, runtime = ?, leased = ?,"
                        " tended = ?, lab = ?, remove = ?, attached = ? WHERE id = ? AND name = ?",
                        error);
    if (r < 0)
        return r;
    query_text(&query, vm_state_name(row->state));
    query_text(&query, row->mac);
    bind_parts(&query, row);
    query_u64(&query, vm_network_is_named(vm_spec_network(&row->spec)));
    query_u64(&query, is_tended(row));
    query_text(&query, *row->lab ? row->lab : NULL);
    query_u64(&query, row->remove);
    query_u64(&query, row->attached);
    query_text(&query, row->id);
    query_text(&query, row->name);
    r = query_run(&query, &changes, error);
    if (r < 0)
        return r;
    return changes ? 0 : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no VM %s", row->name);
}

int vms_update(Store *store, const VmRow *row, Error *error) {
    int r;
    if (row->spec.mounts.count == 0)
        return update_row(store, row, error);
    r = store_nest(store, error);
    if (r < 0)
        return r;
    r = update_row(store, row, error);
    if (r >= 0)
        r = disk_uses_write(store, row->id, &row->spec.mounts, &row->runtime.disks, error);
    return store_nest_end(store, r, error);
}

static int read_state(Query *query, VmState *state, Error *error) {
    char name[16];
    query_column_text(query, 2, name, sizeof(name));
    if (vm_state_from_name(name, state) == 0)
        return 0;
    return error_set(error, ERROR_CORRUPT, EBADMSG, "a VM's state is \"%s\"", name);
}

static int read_parts(Query *query, VmRow *row, Error *error) {
    _cleanup_json_ json_t *spec = NULL, *runtime = NULL;
    int r = query_column_json(query, 11, &spec, error);
    if (r >= 0)
        r = query_column_json(query, 12, &runtime, error);
    if (r < 0)
        return r;
    vm_spec_from_json(spec, &row->spec);
    vm_runtime_from_json(runtime, &row->runtime);
    return 0;
}

static int read_row(Query *query, void *row, Error *error) {
    VmRow found = {0};
    int r = read_state(query, &found.state, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, found.id, sizeof(found.id));
    query_column_text(query, 1, found.name, sizeof(found.name));
    query_column_text(query, 3, found.image, sizeof(found.image));
    query_column_text(query, 4, found.image_digest, sizeof(found.image_digest));
    query_column_text(query, 5, found.snapshot, sizeof(found.snapshot));
    query_column_text(query, 6, found.mac, sizeof(found.mac));
    found.uid = (uint32_t)query_column_u64(query, 7);
    found.remove = query_column_u64(query, 8);
    found.attached = query_column_u64(query, 9);
    found.created_at_usec = query_column_u64(query, 10);
    query_column_text(query, 13, found.lab, sizeof(found.lab));
    r = read_parts(query, &found, error);
    if (r < 0)
        return r;
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

int vms_set_ground(Store *store, const VmRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "UPDATE vms SET snapshot = ?, image_digest = ? WHERE id = ?",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->snapshot);
    query_text(&query, row->image_digest);
    query_text(&query, row->id);
    return query_run(&query, NULL, error);
}

int vms_rename(Store *store, const char *id, const char *name, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    VmRow taken = {0};
    int r = query_start(&query, store, "UPDATE vms SET name = ? WHERE id = ?", error);
    if (r < 0)
        return r;
    (void)snprintf(taken.name, sizeof(taken.name), "%s", name);
    query_text(&query, name);
    query_text(&query, id);
    r = query_run(&query, NULL, &failure);
    if (r == -EEXIST)
        r = explain_conflict(&taken, &failure);
    return r < 0 ? error_move(error, &failure) : 0;
}

int vms_claim_warm(Store *store, const char *snapshot, const char *name, const char *image,
                   VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    VmRow taken = {0};
    int r = query_start(&query, store,
                        "UPDATE vms SET state = 'creating', name = ?, image = ?, created_at = ?"
                        " WHERE id = (SELECT id FROM vms WHERE state = 'warm' AND snapshot = ?"
                        " AND lab IS NULL"
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

int vms_list_of_lab(Store *store, const char *lab, VmRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list_where(store, &KIND, "lab = ?", lab, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

int vms_list_tended(Store *store, VmRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list_where(store, &KIND, "tended <> 0", NULL, &list, count, error);
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

/* Above all that are taken, which the index finds at once, however many there are. */
static int find_above(Store *store, uint64_t first, uint64_t last, uint64_t *next, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "SELECT uid FROM vms WHERE uid <> 0 AND uid BETWEEN ? AND ?"
                        " ORDER BY uid DESC LIMIT 1",
                        error);
    if (r < 0)
        return r;
    query_u64(&query, first);
    query_u64(&query, last);
    r = query_step(&query, error);
    if (r >= 0)
        *next = r > 0 ? query_column_u64(&query, 0) + 1 : first;
    return MIN_OF(r, 0);
}

/* The least that is free. */
static int find_gap(Store *store, uint64_t first, uint64_t *next, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "SELECT uid FROM vms WHERE uid <> 0 AND uid >= ? ORDER BY uid", error);
    if (r < 0)
        return r;
    query_u64(&query, first);
    *next = first;
    while ((r = query_step(&query, error)) > 0 && query_column_u64(&query, 0) == *next)
        (*next)++;
    return MIN_OF(r, 0);
}

int vms_pick_uid(Store *store, uint32_t first, uint32_t count, uint32_t *uid, Error *error) {
    uint64_t end = (uint64_t)first + count, next = first;
    int r = find_above(store, first, end - 1, &next, error);
    if (r >= 0 && next >= end)
        r = find_gap(store, first, &next, error);
    if (r < 0)
        return r;
    if (next >= end) {
        error_set(error, ERROR_FAILED, EUSERS, "all %u users for VMs are taken", count);
        error_set_hint(error, "widen uid_range in config.json");
        return -EUSERS;
    }
    *uid = (uint32_t)next;
    return 0;
}
