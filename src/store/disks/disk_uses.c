/* SPDX-License-Identifier: Apache-2.0 */

#include "store/disks/disk_uses.h"

#include "base/str.h"
#include "store/query.h"
#include "store/rows.h"

static int write_one(Store *store, const char *owner, size_t number, const VmMount *mount,
                     const VmDisk *disk, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    int r = query_start(
        &query, store,
        "INSERT INTO disk_uses (owner, number, base, volume, read_only, layer, freezing)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, number) DO UPDATE SET"
        " base = excluded.base, volume = excluded.volume, read_only = excluded.read_only,"
        " layer = excluded.layer, freezing = excluded.freezing",
        error);
    if (r < 0)
        return r;
    query_text(&query, owner);
    query_u64(&query, number);
    query_text(&query, mount->base);
    query_text(&query, mount->volume);
    query_u64(&query, mount->read_only);
    query_text(&query, disk ? disk->layer : "");
    query_text(&query, disk ? disk->freezing.layer : "");
    return query_run(&query, NULL, error);
}

int disk_uses_write(Store *store, const char *owner, const VmMounts *mounts, const VmDisks *disks,
                    Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < mounts->count; i++)
        r = write_one(store, owner, i, &mounts->items[i],
                      disks && i < disks->count ? &disks->items[i] : NULL, error);
    return r;
}

int disk_uses_count_base(Store *store, const char *base, uint64_t *count, Error *error) {
    return rows_count(store,
                      "WITH it (base) AS (VALUES (?)) SELECT"
                      " (SELECT count(*) FROM disk_uses JOIN it USING (base)) +"
                      " (SELECT count(*) FROM seeds JOIN it ON digest = it.base) +"
                      " (SELECT count(*) FROM it, images, json_each(images.detail, '$.seeds')"
                      "  WHERE json_extract(value, '$.digest') = it.base)",
                      base, count, error);
}

/* Those of a lab's snapshot are one user, by its name. */
#define LIST_USERS(column)                                                           \
    "SELECT v.name, v.id, v.state, u.read_only, 0 FROM disk_uses AS u JOIN vms AS v" \
    " ON v.id = u.owner WHERE u." column " = ?1 UNION"                               \
    " SELECT coalesce(l.name, s.name, s.id), coalesce(l.id, s.id),"                  \
    " iif(l.id IS NULL, 'snapshot', 'lab snapshot'), u.read_only,"                   \
    " s.automatic AND l.id IS NULL"                                                  \
    " FROM disk_uses AS u JOIN snapshots AS s ON s.id = u.owner"                     \
    " LEFT JOIN lab_snapshot_members AS m ON m.snapshot = s.id"                      \
    " LEFT JOIN lab_snapshots AS l ON l.id = m.lab_snapshot WHERE u." column " = ?1 ORDER BY 1"

static int list_users(Store *store, const char *sql, const char *what, DiskUser *users, size_t max,
                      size_t *count, Error *error) {
    _cleanup_query_ Query query = QUERY_INIT;
    size_t n = 0;
    int r = query_start(&query, store, sql, error);
    if (r < 0)
        return r;
    query_text(&query, what);
    while (n < max && (r = query_step(&query, error)) > 0) {
        query_column_text(&query, 0, users[n].name, sizeof(users[n].name));
        query_column_text(&query, 1, users[n].id, sizeof(users[n].id));
        query_column_text(&query, 2, users[n].state, sizeof(users[n].state));
        users[n].read_only = query_column_u64(&query, 3);
        users[n++].automatic = query_column_u64(&query, 4);
    }
    *count = r < 0 ? *count : n;
    return MIN_OF(r, 0);
}

int disk_uses_list_of_base(Store *store, const char *base, DiskUser *users, size_t max,
                           size_t *count, Error *error) {
    return list_users(store, LIST_USERS("base"), base, users, max, count, error);
}

int disk_uses_list_of_volume(Store *store, const char *volume, DiskUser *users, size_t max,
                             size_t *count, Error *error) {
    return list_users(store, LIST_USERS("volume"), volume, users, max, count, error);
}
