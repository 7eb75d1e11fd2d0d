/* SPDX-License-Identifier: Apache-2.0 */

#include "store/images.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "store/rows.h"

#define DIGEST_PREFIX_MIN 6
#define COLUMNS "name, digest, detail, created_at"

void image_row_free(ImageRow *row) {
    json_decref(row->detail);
    row->detail = NULL;
}

void image_row_move(ImageRow *to, ImageRow *from) {
    image_row_free(to);
    *to = *from;
    *from = (ImageRow){0};
}

static int put_row(Store *store, const char *sql, const ImageRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    query_text(&query, row->name);
    query_text(&query, row->digest);
    query_json(&query, row->detail);
    query_u64(&query, row->created_at_usec);
    return query_run(&query, NULL, error);
}

int images_insert(Store *store, const ImageRow *row, Error *error) {
    int r = put_row(store, "INSERT INTO images (" COLUMNS ") VALUES (?, ?, ?, ?)", row, error);
    if (r == -EEXIST)
        return error_set(error, ERROR_CONFLICT, EEXIST, "there is an image %s already", row->name);
    return r;
}

int images_replace(Store *store, const ImageRow *row, Error *error) {
    return put_row(store, "INSERT OR REPLACE INTO images (" COLUMNS ") VALUES (?, ?, ?, ?)", row,
                   error);
}

void image_row_id(const ImageRow *row, char id[IMAGE_ID_SIZE]) {
    _cleanup_free_ char *text =
        str_format("%s %llu", row->name, (unsigned long long)row->created_at_usec);
    char hex[SHA256_HEX_SIZE];
    sha256_data(text, strlen(text), hex);
    (void)snprintf(id, IMAGE_ID_SIZE, "%.*s", IMAGE_ID_SIZE - 1, hex);
}

unsigned image_row_cpus(const ImageRow *row) {
    return (unsigned)MAX_OF(json_integer_value(json_object_get(row->detail, "default_cpus")), 1);
}

static int read_row(Query *query, void *row, Error *error) {
    ImageRow found = {0};
    int r;
    query_column_text(query, 0, found.name, sizeof(found.name));
    query_column_text(query, 1, found.digest, sizeof(found.digest));
    r = query_column_json(query, 2, &found.detail, error);
    if (r < 0)
        return r;
    found.created_at_usec = query_column_u64(query, 3);
    *(ImageRow *)row = found;
    return 0;
}

static void free_row(void *row) {
    image_row_free(row);
}

static const RowKind KIND = {.table = "images",
                             .columns = COLUMNS,
                             .order = "name",
                             .what = "image",
                             .hint = "see ramet image ls",
                             .size = sizeof(ImageRow),
                             .read = read_row,
                             .free = free_row};

int images_get(Store *store, const char *name, ImageRow *row, Error *error) {
    return rows_get(store, &KIND, "name = ?", name, NULL, row, error);
}

/* Hexadecimal digits only, so no wildcard of GLOB can come in. */
static bool is_digest_prefix(const char *text) {
    size_t size = strlen(text);
    return size >= DIGEST_PREFIX_MIN && size < SHA256_HEX_SIZE &&
           strspn(text, "0123456789abcdef") == size;
}

/* Several names may have the one digest. */
static int get_by_digest(Store *store, const char *prefix, ImageRow *row, Error *error) {
    _cleanup_free_ char *pattern = str_format("*:%s*", prefix);
    uint64_t digests;
    int r = rows_count(store, "SELECT count(DISTINCT digest) FROM images WHERE digest GLOB ?",
                       pattern, &digests, error);
    if (r < 0)
        return r;
    if (digests > 1)
        return error_set(error, ERROR_CONFLICT, EEXIST, "%s fits several images", prefix);
    return rows_get(store, &KIND, "digest GLOB ? ORDER BY name LIMIT 1", pattern, NULL, row, error);
}

/* There are few of them, and their ids are stored nowhere. */
static int get_by_id(Store *store, const char *reference, ImageRow *row, Error *error) {
    char name[sizeof(row->name)] = "";
    ImageRow *rows;
    size_t count;
    int r = images_list(store, &rows, &count, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        char id[IMAGE_ID_SIZE];
        image_row_id(&rows[i], id);
        if (str_equal(id, reference))
            (void)snprintf(name, sizeof(name), "%s", rows[i].name);
    }
    image_rows_free(rows, count);
    return *name ? images_get(store, name, row, error) : 0;
}

int images_find(Store *store, const char *reference, ImageRow *row, Error *error) {
    const char *digest = reference;
    int r = images_get(store, reference, row, error);
    if (r != 0)
        return r < 0 ? r : 0;
    if (strlen(reference) == IMAGE_ID_SIZE - 1) {
        r = get_by_id(store, reference, row, error);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    if (strchr(reference, ':'))
        digest = strchr(reference, ':') + 1;
    if (is_digest_prefix(digest)) {
        r = get_by_digest(store, digest, row, error);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return rows_not_found(&KIND, reference, error);
}

int images_list(Store *store, ImageRow **rows, size_t *count, Error *error) {
    void *list;
    int r = rows_list(store, &KIND, &list, count, error);
    if (r >= 0)
        *rows = list;
    return r;
}

void image_rows_free(ImageRow *rows, size_t count) {
    rows_free(&KIND, rows, count);
}

int images_delete(Store *store, const char *name, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int changes;
    int r = query_start(&query, store, "DELETE FROM images WHERE name = ?", error);
    if (r < 0)
        return r;
    query_text(&query, name);
    r = query_run(&query, &changes, error);
    if (r < 0)
        return r;
    return changes ? 0 : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no image %s", name);
}

static int replace_digest(Store *store, const char *sql, const char *from, const char *to,
                          Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    query_text(&query, to);
    query_text(&query, from);
    return query_run(&query, NULL, error);
}

int images_replace_digest(Store *store, const char *from, const char *to, Error *error) {
    static const char *const statements[] = {
        "UPDATE images SET digest = ? WHERE digest = ?",
        "UPDATE vms SET image_digest = ? WHERE image_digest = ?",
        "UPDATE snapshots SET image_digest = ? WHERE image_digest = ?",
    };
    int r = store_begin(store, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(statements); i++)
        r = replace_digest(store, statements[i], from, to, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

int images_count_digest(Store *store, const char *digest, size_t *count, Error *error) {
    return rows_count(store, "SELECT count(*) FROM images WHERE digest = ?", digest, count, error);
}

int images_count_uses(Store *store, const char *digest, size_t *count, Error *error) {
    return rows_count(store,
                      "WITH base (digest) AS (VALUES (?)) SELECT"
                      " (SELECT count(*) FROM images JOIN base USING (digest)) +"
                      " (SELECT count(*) FROM vms JOIN base ON image_digest = base.digest) +"
                      " (SELECT count(*) FROM snapshots JOIN base ON image_digest = base.digest)",
                      digest, count, error);
}
