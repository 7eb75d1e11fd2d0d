/* SPDX-License-Identifier: Apache-2.0 */

/* The digests of saved memory.
 *
 * A snapshot is safe, and can be forked, before its memory was hashed: until then its file is known
 * by its stamp, and hot memory by its seal. The tree digest, by which all checks go, is computed
 * behind it by one thread for all snapshots, and by the next daemon where this one ended before.
 *
 * The SHA-256 is for people and scripts: it is what sha256sum says of the file. It runs through all
 * holes of a base, so it costs what the RAM spans, and is computed when somebody asks for it. Both
 * digests are taken of the same bytes then, so what is stored is the SHA-256 of what was saved, or
 * nothing.
 *
 * Who computes has the lock under which the files were published; others wait for it and look
 * again. A removal need not wait: who computes has the file open, and finds no row in the end. */

#include "frozen/memory_digest.h"

#include <errno.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/tree_digest.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/turn.h"
#include "store/snapshots.h"

static bool lacks(const SnapshotRow *row, bool sha256) {
    const SnapshotFile *file = &row->data.files.memory;
    return *file->name && !row->data.unwritten &&
           !*(sha256 ? file->sha256 : snapshot_content_digest(file));
}

/* Puts what it found into the row. */
static int compute(Home *home, int cancel_fd, bool sha256, SnapshotRow *row, Error *error) {
    const TreeDigestOptions options = {.cancel_fd = cancel_fd, .threads = sha256 ? 0 : 1};
    SnapshotFile *file = &row->data.files.memory;
    _cleanup_close_ int fd = -1;
    char tree[TREE_DIGEST_SIZE], flat[SHA256_HEX_SIZE] = "";
    int r = snapshot_open_file(home, row, file, &fd, NULL, error);
    if (r >= 0)
        r = sha256 ? tree_digest_and_sha256(fd, cancel_fd, tree, flat, error)
                   : tree_digest_file(fd, &options, tree, error);
    if (r < 0)
        return r;
    if (*file->tree && !str_equal(tree, file->tree))
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "the memory of snapshot %s is not what was saved: its SHA-256 differs",
                         row->id);
    str_set(file->tree, tree);
    if (sha256)
        str_set(file->sha256, flat);
    if (!row->data.verified_at_usec)
        row->data.verified_at_usec = clock_realtime_usec();
    return 0;
}

/* With the lock held, and perhaps done by another meanwhile. */
static int find_or_compute(Home *home, int cancel_fd, bool sha256, SnapshotRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow now = {0};
    int r = snapshots_get(home->store, row->id, &now, error);
    if (r >= 0 && lacks(&now, sha256)) {
        r = compute(home, cancel_fd, sha256, &now, error);
        if (r >= 0)
            r = snapshots_set_digests(home->store, now.id, &now.data.files.memory,
                                      now.data.verified_at_usec, error);
    }
    if (r < 0)
        return r;
    snapshot_row_free(row);
    *row = now;
    now = (SnapshotRow){0};
    return 0;
}

static int await(Home *home, int cancel_fd, bool sha256, SnapshotRow *row, Error *error) {
    _cleanup_close_ int lock_fd = -1;
    int r;
    if (!lacks(row, sha256))
        return 0;
    r = home_wait_for_turn(home, "snapshots", row->id, cancel_fd, &lock_fd, error);
    if (r >= 0)
        r = find_or_compute(home, cancel_fd, sha256, row, error);
    return r < 0 ? error_add_context(error, "cannot compute the SHA-256 of the memory") : 0;
}

int snapshot_await_digest(Home *home, int cancel_fd, SnapshotRow *row, Error *error) {
    return await(home, cancel_fd, false, row, error);
}

int snapshot_await_sha256(Home *home, int cancel_fd, SnapshotRow *row, Error *error) {
    return await(home, cancel_fd, true, row, error);
}
