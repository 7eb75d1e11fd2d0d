/* SPDX-License-Identifier: Apache-2.0 */

#include "store/disks/seeds.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "store/rows.h"

#define COLUMNS "name, digest, created_at, detail"
#define DIGEST_PREFIX_MIN 6

void seed_row_free(SeedRow *row) {
    json_decref(row->detail);
    row->detail = NULL;
}

int seeds_put(Store *store, const SeedRow *row, bool replace, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store,
                        replace ? "INSERT OR REPLACE INTO seeds (" COLUMNS ") VALUES (?, ?, ?, ?)"
                                : "INSERT INTO seeds (" COLUMNS ") VALUES (?, ?, ?, ?)",
                        error);
    if (r < 0)
        return r;
    query_text(&query, row->name);
    query_text(&query, row->digest);
    query_u64(&query, row->created_at_usec);
    query_json(&query, row->detail);
    r = query_run(&query, NULL, error);
    if (r == -EEXIST) {
        error_set(error, ERROR_CONFLICT, EEXIST, "there is another seed %s already", row->name);
        error_set_hint(error,
                       "choose another name, or let --replace move this one: VMs keep what they "
                       "have");
    }
    return r;
}

static int read_row(Query *query, void *row, Error *error) {
    SeedRow found = {0};
    int r = query_column_json(query, 3, &found.detail, error);
    if (r < 0)
        return r;
    query_column_text(query, 0, found.name, sizeof(found.name));
    query_column_text(query, 1, found.digest, sizeof(found.digest));
    found.created_at_usec = query_column_u64(query, 2);
    *(SeedRow *)row = found;
    return 0;
}

static void free_row(void *row) {
    seed_row_free(row);
}

static const RowKind KIND = {.table = "seeds",
                             .columns = COLUMNS,
                             .order = "name",
                             .what = "seed",
                             .hint = "see ramet seed ls",
                             .size = sizeof(SeedRow),
                             .read = read_row,
                             .free = free_row};

int seeds_get(Store *store, const char *name, SeedRow *row, Error *error) {
    return rows_get(store, &KIND, "name = ?", name, NULL, row, error);
}

/* Several names may have the one digest. */
static int get_by_digest(Store *store, const char *prefix, SeedRow *row, Error *error) {
    _cleanup_free_ char *pattern = str_format("*:%s*", prefix);
    uint64_t digests;
    int r = rows_count(store, "SELECT count(DISTINCT digest) FROM seeds WHERE digest GLOB ?",
                       pattern, &digests, error);
    if (r < 0)
        return r;
    if (digests > 1)
        return error_set(error, ERROR_CONFLICT, EEXIST, "%s fits several seeds", prefix);
    return rows_get(store, &KIND, "digest GLOB ? ORDER BY name LIMIT 1", pattern, NULL, row, error);
}

int seeds_find(Store *store, const char *reference, SeedRow *row, Error *error) {
    const char *digits = strchr(reference, ':') ? strchr(reference, ':') + 1 : reference;
    size_t size = strlen(digits);
    int r = seeds_get(store, reference, row, error);
    if (r == 0 && size >= DIGEST_PREFIX_MIN && strspn(digits, "0123456789abcdef") == size)
        r = get_by_digest(store, digits, row, error);
    if (r != 0)
        return MIN_OF(r, 0);
    return rows_not_found(&KIND, reference, error);
}

int seeds_list(Store *store, SeedRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

void seed_rows_free(SeedRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int seeds_count_digest(Store *store, const char *digest, uint64_t *count, Error *error) {
    return rows_count(store, "SELECT count(*) FROM seeds WHERE digest = ?", digest, count, error);
}

int seeds_delete(Store *store, const char *name, Error *error) {
    return rows_run(store, "DELETE FROM seeds WHERE name = ?", name, error);
}
