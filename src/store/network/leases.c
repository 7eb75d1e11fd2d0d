/* SPDX-License-Identifier: Apache-2.0 */

#include "store/network/leases.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "store/rows.h"

/* SQLite names the columns that were not unique. */
static int explain_conflict(const LeaseRow *row, const Error *failure, Error *error) {
    if (strstr(error_message(failure), "leases.mac"))
        return error_set(error, ERROR_CONFLICT, EAGAIN, "another VM has the MAC address %s",
                         row->mac);
    return error_set(error, ERROR_CONFLICT, EEXIST, "another VM has the address %u.%u.%u.%u",
                     row->ip >> 24, row->ip >> 16 & 0xff, row->ip >> 8 & 0xff, row->ip & 0xff);
}

int leases_insert(Store *store, const LeaseRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        "INSERT INTO leases (network, ip, mac, vm, card) VALUES (?, ?, ?, ?, ?)",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->network);
    query_u64(&query, row->ip);
    query_text(&query, row->mac);
    query_text(&query, row->vm);
    query_u64(&query, row->card);
    r = query_run(&query, NULL, &failure);
    if (r >= 0 || failure.kind != ERROR_CONFLICT)
        return r < 0 ? error_move(error, &failure) : 0;
    return explain_conflict(row, &failure, error);
}

int leases_delete(Store *store, const char *vm, Error *error) {
    return rows_run(store, "DELETE FROM leases WHERE vm = ?", vm, error);
}

int leases_list(Store *store, const char *network, LeaseRow **rows, size_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    LeaseRow *list = NULL;
    size_t n = 0;
    int r = query_start(&query, store,
                        "SELECT network, ip, mac, vm, card FROM leases WHERE network = ?"
                        " ORDER BY ip",
                        error);
    if (r < 0)
        return r;
    query_text(&query, network);
    while ((r = query_step(&query, error)) > 0) {
        list = reallocarray(list, n + 1, sizeof(*list));
        if (!list)
            abort();
        LeaseRow *row = &list[n++];
        query_column_text(&query, 0, row->network, sizeof(row->network));
        row->ip = (uint32_t)query_column_u64(&query, 1);
        query_column_text(&query, 2, row->mac, sizeof(row->mac));
        query_column_text(&query, 3, row->vm, sizeof(row->vm));
        row->card = (unsigned)query_column_u64(&query, 4);
    }
    if (r < 0) {
        free(list);
        return r;
    }
    *rows = list;
    *count = n;
    return 0;
}

/* A number from a statement about the addresses of a range; 0: none. */
static int ask(Store *store, const char *sql, const char *network, uint32_t first, uint32_t last,
               uint32_t *ip, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    query_text(&query, network);
    query_u64(&query, first);
    query_u64(&query, last);
    r = query_step(&query, error);
    if (r > 0)
        *ip = (uint32_t)query_column_u64(&query, 0);
    return r < 0 ? r : 0;
}

/* Above all others it is found at once, however many there are; only where the end was reached,
 * those between are looked through. */
int leases_find_free(Store *store, const char *network, uint32_t first, uint32_t last, uint32_t *ip,
                     Error *error) {
    uint32_t top = 0, gap = 0;
    int r = ask(store,
                "SELECT ip FROM leases WHERE network = ? AND ip BETWEEN ? AND ?"
                " ORDER BY ip DESC LIMIT 1",
                network, first, last, &top, error);
    if (r < 0)
        return r;
    if (top < last) {
        *ip = top ? top + 1 : first;
        return 1;
    }
    r = ask(store,
            "SELECT n FROM (SELECT ?2 AS n UNION ALL SELECT ip + 1 FROM leases"
            " WHERE network = ?1 AND ip BETWEEN ?2 AND ?3 - 1)"
            " WHERE n NOT IN (SELECT ip FROM leases WHERE network = ?1) ORDER BY n LIMIT 1",
            network, first, last, &gap, error);
    if (r < 0 || gap == 0)
        return r;
    *ip = gap;
    return 1;
}
