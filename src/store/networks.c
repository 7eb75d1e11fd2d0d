/* SPDX-License-Identifier: Apache-2.0 */

#include "store/networks.h"

#include <errno.h>

#include "base/str.h"
#include "store/row_fields.h"
#include "store/rows.h"

#define USER_NAME ".user"
#define COLUMNS "id, name, created_at, data, lab"

#define FIELD(kind, name) ROW_FIELD(kind, NetworkData, name)
#define TEXT(name) ROW_TEXT_FIELD(NetworkData, name)

static const RowField process_fields[] = {
    ROW_FIELD(ROW_INT, ProcessIdentity, pid),
    ROW_FIELD(ROW_U64, ProcessIdentity, start_ticks),
};

static const RowField fields[] = {
    TEXT(backend),
    TEXT(chosen),
    TEXT(subnet),
    FIELD(ROW_INT, prefix),
    TEXT(gateway),
    TEXT(subnet6),
    FIELD(ROW_INT, prefix6),
    TEXT(gateway6),
    FIELD(ROW_BOOL, isolated),
    FIELD(ROW_BOOL, no_uplink),
    FIELD(ROW_BOOL, allow_host),
    FIELD(ROW_INT, taps),
    FIELD(ROW_INT, uid),
    TEXT(macs_of),
    ROW_STRUCT_FIELD(NetworkData, impair, impairment_fields),
    ROW_STRUCT_FIELD(NetworkData, process, process_fields),
    ROW_UNKNOWN_FIELD(NetworkData, unknown),
};

json_t *network_data_to_json(const NetworkData *data) {
    return row_fields_write(fields, ARRAY_SIZE(fields), data, NULL);
}

void network_data_from_json(const json_t *json, NetworkData *data) {
    (void)row_fields_read(fields, ARRAY_SIZE(fields), data, json);
}

void network_data_free(NetworkData *data) {
    row_fields_free(fields, ARRAY_SIZE(fields), data);
}

void network_row_free(NetworkRow *row) {
    network_data_free(&row->data);
}

static void bind_data(Query *query, const NetworkRow *row) {
    _cleanup_json_ json_t *data = network_data_to_json(&row->data);
    query_json(query, data);
}

static int read_row(Query *query, void *data, Error *error) {
    NetworkRow *row = data;
    _cleanup_json_ json_t *json = NULL;
    int r = query_column_json(query, 3, &json, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, row->id, sizeof(row->id));
    query_column_text(query, 1, row->name, sizeof(row->name));
    row->created_at_usec = query_column_u64(query, 2);
    query_column_text(query, 4, row->lab, sizeof(row->lab));
    network_data_from_json(json, &row->data);
    return 0;
}

static void free_row(void *row) {
    network_row_free(row);
}

static const RowKind KIND = {.table = "networks",
                             .columns = COLUMNS,
                             .order = "created_at, id",
                             .what = "network",
                             .hint = "see ramet network ls",
                             .size = sizeof(NetworkRow),
                             .read = read_row,
                             .free = free_row};

void network_rows_free(NetworkRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int networks_insert(Store *store, const NetworkRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "INSERT INTO networks (" COLUMNS ") VALUES (?, ?, ?, ?, ?)",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, network_is_user(row) ? USER_NAME : row->name);
    query_u64(&query, row->created_at_usec);
    bind_data(&query, row);
    query_text(&query, *row->lab ? row->lab : NULL);
    r = query_run(&query, NULL, &failure);
    if (r >= 0 || failure.kind != ERROR_CONFLICT)
        return r < 0 ? error_move(error, &failure) : 0;
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a network %s already", row->name);
    error_set_hint(error, "choose another name, or remove it with ramet network rm %s", row->name);
    return -EEXIST;
}

int networks_update(Store *store, const NetworkRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "UPDATE networks SET data = ? WHERE id = ?", error);
    if (r < 0)
        return r;
    bind_data(&query, row);
    query_text(&query, row->id);
    return query_run(&query, NULL, error);
}

int networks_delete(Store *store, const NetworkRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = rows_run(store, "DELETE FROM networks WHERE id = ?", row->id, &failure);
    if (r >= 0 || failure.kind != ERROR_CONFLICT)
        return r < 0 ? error_move(error, &failure) : 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "network %s is in use", row->name);
    error_set_hint(error, "its VMs are in ramet network inspect %s; remove them first", row->name);
    return -EBUSY;
}

bool network_is_user(const NetworkRow *row) {
    return str_equal(row->id, NETWORK_USER_ID);
}

int networks_get_user(Store *store, NetworkRow *row, Error *error) {
    int r = rows_get(store, &KIND, "id = ?", NETWORK_USER_ID, NULL, row, error);
    if (r > 0)
        str_set(row->name, NETWORK_USER_ID);
    return r;
}

int networks_get(Store *store, const char *name, NetworkRow *row, Error *error) {
    if (str_equal(name, USER_NAME))
        return rows_not_found(&KIND, name, error);
    int r = rows_get(store, &KIND, "name = ?", name, NULL, row, error);
    if (r == 0)
        return rows_not_found(&KIND, name, error);
    return r < 0 ? r : 0;
}

static int list_where(Store *store, const char *condition, const char *value, NetworkRow **rows,
                      size_t *count, Error *error) {
    void *list;
    int r = rows_list_where(store, &KIND, condition, value, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

int networks_list(Store *store, NetworkRow **rows, size_t *count, Error *error) {
    return list_where(store, "id <> ?", NETWORK_USER_ID, rows, count, error);
}

int networks_list_of_lab(Store *store, const char *lab, NetworkRow **rows, size_t *count,
                         Error *error) {
    return list_where(store, "lab = ?", lab, rows, count, error);
}

int networks_list_shown(Store *store, NetworkRow **rows, size_t *count, Error *error) {
    return list_where(
        store,
        "id <> ? AND "
        "(lab IS NULL OR lab IN (SELECT id FROM labs WHERE state IN ('ready', 'removing')))",
        NETWORK_USER_ID, rows, count, error);
}
