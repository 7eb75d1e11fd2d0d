/* SPDX-License-Identifier: Apache-2.0 */

#include "store/images.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "store/internal.h"

#define DIGEST_PREFIX_MIN 6
#define COLUMNS "name, digest, detail, created_at"

void image_row_free(ImageRow *row) {
    json_decref(row->detail);
    row->detail = NULL;
}

void image_rows_free(ImageRow *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        image_row_free(&rows[i]);
    free(rows);
}

int images_insert(Store *store, const ImageRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r =
        query_start(&query, store, "INSERT INTO images (" COLUMNS ") VALUES (?, ?, ?, ?)", error);

    if (r < 0)
        return r;
    query_text(&query, row->name);
    query_text(&query, row->digest);
    query_json(&query, row->detail);
    query_u64(&query, row->created_at_usec);
    r = query_run(&query, NULL, error);
    if (r == -EEXIST)
        return error_set(error, ERROR_CONFLICT, EEXIST, "there is an image %s already", row->name);
    return r;
}

static int row_from_query(Query *query, ImageRow *row, Error *error) {
    ImageRow found = {0};
    int r;

    query_column_text(query, 0, found.name, sizeof(found.name));
    query_column_text(query, 1, found.digest, sizeof(found.digest));
    r = query_column_json(query, 2, &found.detail, error);
    if (r < 0)
        return r;
    found.created_at_usec = query_column_u64(query, 3);
    *row = found;
    return 0;
}

int images_get(Store *store, const char *name, ImageRow *row, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "SELECT " COLUMNS " FROM images WHERE name = ?", error);

    if (r < 0)
        return r;
    query_text(&query, name);
    r = query_step(&query, error);
    if (r <= 0)
        return r;
    r = row_from_query(&query, row, error);
    return r < 0 ? r : 1;
}

/* Hexadecimal digits only, so no wildcard of GLOB can come in. */
static bool is_digest_prefix(const char *text) {
    size_t size = strlen(text);

    return size >= DIGEST_PREFIX_MIN && size < SHA256_HEX_SIZE &&
           strspn(text, "0123456789abcdef") == size;
}

static int get_by_digest(Store *store, const char *prefix, ImageRow *row, Error *error) {
    _cleanup_free_ char *pattern = str_format("sha256:%s*", prefix);
    _cleanup_query_ Query query = QUERY_INIT;
    _cleanup_image_row_ ImageRow first = {0};
    char digest[IMAGE_ROW_DIGEST_SIZE];
    int r = query_start(&query, store,
                        "SELECT " COLUMNS " FROM images WHERE digest GLOB ? ORDER BY digest, name",
                        error);

    if (r < 0)
        return r;
    query_text(&query, pattern);
    r = query_step(&query, error);
    if (r <= 0)
        return r;
    r = row_from_query(&query, &first, error);
    if (r < 0)
        return r;
    while ((r = query_step(&query, error)) > 0) {
        query_column_text(&query, 1, digest, sizeof(digest));
        if (!str_equal(digest, first.digest))
            return error_set(error, ERROR_CONFLICT, EEXIST, "%s fits several images", prefix);
    }
    if (r < 0)
        return r;
    *row = first;
    first = (ImageRow){0};
    return 1;
}

int images_find(Store *store, const char *reference, ImageRow *row, Error *error) {
    const char *digest = reference;
    int r = images_get(store, reference, row, error);

    if (r != 0)
        return r < 0 ? r : 0;
    if (str_has_prefix(reference, "sha256:"))
        digest += strlen("sha256:");
    if (is_digest_prefix(digest)) {
        r = get_by_digest(store, digest, row, error);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no image %s", reference);
    error_set_hint(error, "see ramet image ls");
    return -ENOENT;
}

int images_list(Store *store, ImageRow **rows, size_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    ImageRow *list = NULL;
    size_t n = 0, room = 0;
    int r = query_start(&query, store, "SELECT " COLUMNS " FROM images ORDER BY name", error);

    if (r < 0)
        return r;
    while ((r = query_step(&query, error)) > 0) {
        if (n == room) {
            room = room ? 2 * room : 16;
            list = reallocarray(list, room, sizeof(*list));
            if (!list)
                abort();
        }
        r = row_from_query(&query, &list[n], error);
        if (r < 0)
            break;
        n++;
    }
    if (r < 0) {
        image_rows_free(list, n);
        return r;
    }
    *rows = list;
    *count = n;
    return 0;
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

int images_settle_digest(Store *store, const char *from, const char *to, Error *error) {
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
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(&query, store, "SELECT count(*) FROM images WHERE digest = ?", error);

    if (r < 0)
        return r;
    query_text(&query, digest);
    r = query_step(&query, error);
    if (r < 0)
        return r;
    *count = query_column_u64(&query, 0);
    return 0;
}
