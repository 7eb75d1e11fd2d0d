/* SPDX-License-Identifier: Apache-2.0 */

/* A snapshot's folder and its members:
 *
 *   snapshots/ID/memory.base   a whole memory (kind "full"), sparse
 *   snapshots/ID/memory.diff   the dirty pages over another snapshot's memory.base (kind "diff")
 *   snapshots/ID/state         the device state
 *
 * All 0444 in a folder that only the daemon can enter. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vm/snapshot_internal.h"

char *snapshot_path(const Ramet *ramet, const char *id, const char *name) {
    if (!name)
        return path_join(ramet->home, "snapshots", id);
    return path_join(ramet->home, "snapshots", id, name);
}

const char *snapshot_text(const SnapshotRow *row, const char *key) {
    const char *text = json_string_value(json_object_get(row->data, key));

    return text ? text : "";
}

uint64_t snapshot_u64(const SnapshotRow *row, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(row->data, key));
}

const json_t *snapshot_file(const SnapshotRow *row, const char *which) {
    return json_object_get(json_object_get(row->data, "files"), which);
}

bool snapshot_has_memory(const SnapshotRow *row) {
    return snapshot_file(row, "memory") != NULL;
}

bool snapshot_is_diff(const SnapshotRow *row) {
    return str_equal(snapshot_text(row, "kind"), "diff");
}

int snapshot_open_file(Ramet *ramet, const SnapshotRow *snapshot, const char *which, int *fd,
                       char **path, Error *error) {
    const json_t *file = snapshot_file(snapshot, which);
    const char *name = json_string_value(json_object_get(file, "name"));
    const char *sha256 = json_string_value(json_object_get(file, "sha256"));
    _cleanup_free_ char *full = snapshot_path(ramet, snapshot->id, name ? name : which);
    _cleanup_close_ int opened = -1;
    int r;

    if (!name)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "snapshot %s has no %s",
                         *snapshot->name ? snapshot->name : snapshot->id, which);
    opened = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0)
        return error_set_errno(error, errno, "cannot open %s", full);
    r = stamp_check(opened, json_object_get(file, "stamp"), sha256 ? sha256 : "", full, error);
    if (r < 0)
        return r;
    *fd = TAKE_FD(opened);
    if (path)
        *path = TAKE_PTR(full);
    return 0;
}
