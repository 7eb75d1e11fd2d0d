/* SPDX-License-Identifier: Apache-2.0 */

/* The SHA-256 of a memory base, for people and scripts: it is what sha256sum says of the file.
 *
 * It runs through all holes of the file, so it costs what the RAM spans. A snapshot is therefore
 * recorded with its tree digest, by which all checks go, and the SHA-256 is computed when somebody
 * asks for it: once, by the first who asks, while others wait for the lock under which the files
 * were published and look again. Both digests are taken of the same bytes, so what is stored is the
 * SHA-256 of what was saved, or nothing. A removal need not wait: who computes has the file open,
 * and finds no row in the end. */

#include <errno.h>

#include "base/lock.h"
#include "vm/snapshot_internal.h"

static bool lacks_sha256(const SnapshotRow *row) {
    const json_t *file = snapshot_file(row, "memory");

    return file && !json_object_get(file, "sha256");
}

static int compute(Ramet *ramet, int cancel_fd, const SnapshotRow *row,
                   char sha256[SHA256_HEX_SIZE], Error *error) {
    const char *recorded = snapshot_content_digest(snapshot_file(row, "memory"));
    _cleanup_close_ int fd = -1;
    char tree[TREE_DIGEST_SIZE];
    int r = snapshot_open_file(ramet, row, "memory", &fd, NULL, error);

    if (r >= 0)
        r = tree_digest_and_sha256(fd, cancel_fd, tree, sha256, error);
    if (r >= 0 && !str_equal(tree, recorded))
        r = error_set(error, ERROR_CORRUPT, EBADMSG,
                      "the memory of snapshot %s is not what was saved: its SHA-256 differs",
                      row->id);
    return r;
}

/* With the lock held, and perhaps done by another meanwhile. */
static int look_or_compute(Ramet *ramet, int cancel_fd, SnapshotRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow now = {0};
    char sha256[SHA256_HEX_SIZE];
    int r = snapshots_get(ramet->store, row->id, &now, error);

    if (r >= 0 && lacks_sha256(&now)) {
        r = compute(ramet, cancel_fd, &now, sha256, error);
        if (r >= 0)
            r = snapshots_set_memory_sha256(ramet->store, now.id, sha256, error);
        if (r >= 0)
            (void)json_object_set_new((json_t *)snapshot_file(&now, "memory"), "sha256",
                                      json_string(sha256));
    }
    if (r < 0)
        return r;
    snapshot_row_free(row);
    *row = now;
    now = (SnapshotRow){0};
    return 0;
}

int snapshot_await_sha256(Ramet *ramet, int cancel_fd, SnapshotRow *row, Error *error) {
    _cleanup_free_ char *folder = path_join(ramet->home, "locks");
    _cleanup_free_ char *key = str_format("snapshots-%s", row->id);
    _cleanup_close_ int lock_fd = -1;
    int r;

    if (!lacks_sha256(row))
        return 0;
    r = lock_acquire(folder, key, UINT64_MAX, cancel_fd, &lock_fd, error);
    if (r >= 0)
        r = look_or_compute(ramet, cancel_fd, row, error);
    return r < 0 ? error_add_context(error, "cannot compute the SHA-256 of the memory") : 0;
}
