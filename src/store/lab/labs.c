/* SPDX-License-Identifier: Apache-2.0 */

#include "store/lab/labs.h"

#include <errno.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/rows.h"

#define COLUMNS "id, name, state, snapshot, created_at, description"

static const char *const states[] = {
    [LAB_CREATING] = "creating", [LAB_READY] = "ready",           [LAB_REMOVING] = "removing",
    [LAB_WARM] = "warm",         [LAB_DISCARDING] = "discarding",
};

const char *lab_state_name(LabState state) {
    return states[state];
}

bool lab_state_is_seen(LabState state) {
    return state == LAB_READY || state == LAB_REMOVING;
}

void lab_row_free(LabRow *row) {
    json_replace(&row->description, NULL);
}

static int explain_taken(const char *name, Error *failure, Error *error) {
    if (failure->kind != ERROR_CONFLICT)
        return error_move(error, failure);
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a lab %s already", name);
    error_set_hint(error, "choose another name with --name, or end it with ramet lab down %s",
                   name);
    return -EEXIST;
}

int labs_insert(Store *store, const LabRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "INSERT INTO labs (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->id);
    query_text(&query, row->name);
    query_text(&query, lab_state_name(row->state));
    query_text(&query, row->snapshot);
    query_u64(&query, row->created_at_usec);
    query_json(&query, row->description);
    r = query_run(&query, NULL, &failure);
    return r < 0 ? explain_taken(row->name, &failure, error) : 0;
}

int labs_set_state(Store *store, const char *id, LabState state, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int changes;
    int r = query_start(&query, store, "UPDATE labs SET state = ? WHERE id = ?", error);
    if (r < 0)
        return r;
    query_text(&query, lab_state_name(state));
    query_text(&query, id);
    r = query_run(&query, &changes, error);
    if (r < 0)
        return r;
    return changes ? 0 : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no lab %s", id);
}

int labs_delete(Store *store, const LabRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = rows_run(store, "DELETE FROM labs WHERE id = ?", row->id, &failure);
    if (r >= 0 || failure.kind != ERROR_CONFLICT)
        return r < 0 ? error_move(error, &failure) : 0;
    return error_set(error, ERROR_CONFLICT, EBUSY, "lab %s has VMs or networks still", row->name);
}

static int read_state(Query *query, LabState *state, Error *error) {
    char name[16];
    query_column_text(query, 2, name, sizeof(name));
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (!str_equal(states[i], name))
            continue;
        *state = (LabState)i;
        return 0;
    }
    return error_set(error, ERROR_CORRUPT, EBADMSG, "a lab's state is \"%s\"", name);
}

static int read_row(Query *query, void *data, Error *error) {
    LabRow *row = data;
    int r = read_state(query, &row->state, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, row->id, sizeof(row->id));
    query_column_text(query, 1, row->name, sizeof(row->name));
    query_column_text(query, 3, row->snapshot, sizeof(row->snapshot));
    row->created_at_usec = query_column_u64(query, 4);
    return query_column_json(query, 5, &row->description, error);
}

static void free_row(void *row) {
    lab_row_free(row);
}

static const RowKind KIND = {.table = "labs",
                             .columns = COLUMNS,
                             .order = "created_at, id",
                             .what = "lab",
                             .hint = "see ramet lab ls",
                             .size = sizeof(LabRow),
                             .read = read_row,
                             .free = free_row};

void lab_rows_free(LabRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int labs_get(Store *store, const char *id, LabRow *row, Error *error) {
    return rows_get_by_id(store, &KIND, id, row, error);
}

int labs_find(Store *store, const char *reference, LabRow *row, Error *error) {
    return rows_find(store, &KIND, "state IN ('ready', 'removing')", reference, row, error);
}

int labs_list(Store *store, LabRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

/* ---- warm ones ---- */

int labs_take_warm(Store *store, const char *id, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int changes;
    int r =
        query_start(&query, store,
                    "UPDATE labs SET state = 'discarding' WHERE id = ? AND state = 'warm'", error);
    if (r < 0)
        return r;
    query_text(&query, id);
    r = query_run(&query, &changes, error);
    return r < 0 ? r : changes > 0;
}

static int claim_row(Store *store, const char *snapshot, size_t n_vms, const char *name,
                     LabRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "UPDATE labs SET state = 'creating', name = ?, created_at = ?"
                        " WHERE id = (SELECT id FROM labs WHERE state = 'warm' AND snapshot = ?"
                        " AND (SELECT count(*) FROM vms WHERE lab = labs.id AND state = 'warm') = ?"
                        " ORDER BY created_at, id LIMIT 1) RETURNING " COLUMNS,
                        error);
    if (r < 0)
        return r;
    query_text(&query, name);
    query_u64(&query, clock_realtime_usec());
    query_text(&query, snapshot);
    query_u64(&query, n_vms);
    r = query_step(&query, &failure);
    if (r <= 0)
        return r < 0 ? explain_taken(name, &failure, error) : 0;
    r = read_row(&query, row, error);
    if (r >= 0)
        r = query_step(&query, error); /* ends the statement, and so the change */
    return r < 0 ? r : 1;
}

/* What is of the lab is called "NAME/…" from here on. */
static int rename_all(Store *store, const LabRow *row, const char *table, Error *error) {
    _cleanup_free_ char *statement = str_format(
        "UPDATE %s SET name = ? || substr(name, instr(name, '/')), created_at = ? WHERE lab = ?",
        table);
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, statement, error);
    if (r < 0)
        return r;
    query_text(&query, row->name);
    query_u64(&query, row->created_at_usec);
    query_text(&query, row->id);
    return query_run(&query, NULL, error);
}

static int claim(Store *store, const char *snapshot, size_t n_vms, const char *name, LabRow *row,
                 Error *error) {
    int r = claim_row(store, snapshot, n_vms, name, row, error);
    if (r <= 0)
        return r;
    r = rename_all(store, row, "networks", error);
    if (r >= 0)
        r = rename_all(store, row, "vms", error);
    if (r >= 0)
        r = rows_run(store, "UPDATE vms SET state = 'creating' WHERE lab = ? AND state = 'warm'",
                     row->id, error);
    return r < 0 ? r : 1;
}

int labs_claim_warm(Store *store, const char *snapshot, size_t n_vms, const char *name, LabRow *row,
                    Error *error) {
    LabRow claimed = {0};
    int r = store_begin(store, error), committed;
    if (r < 0)
        return r;
    r = claim(store, snapshot, n_vms, name, &claimed, error);
    if (r <= 0) {
        store_rollback(store);
        lab_row_free(&claimed);
        return r;
    }
    committed = store_commit(store, error);
    if (committed < 0) {
        lab_row_free(&claimed);
        return committed;
    }
    *row = claimed;
    return 1;
}

int labs_check_alone(Store *store, const char *lab, const char *what, const char *name,
                     Error *error) {
    _cleanup_lab_row_ LabRow row = {0};
    if (!*lab || labs_get(store, lab, &row, NULL) < 0)
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "the %s %s is part of lab %s", what, name, row.name);
    error_set_hint(error, "a lab goes as a whole: ramet lab down %s", row.name);
    return -EBUSY;
}
