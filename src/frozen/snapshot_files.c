/* SPDX-License-Identifier: Apache-2.0 */

/* A snapshot's folder and its members:
 *
 *   snapshots/ID/memory.base   a whole memory (kind "full"), sparse
 *   snapshots/ID/memory.diff   the dirty pages over another snapshot's memory.base (kind "diff")
 *   snapshots/ID/state         the device state
 *
 * A memory file may be compressed instead and has .zst after its name then (packed.h). It is
 * compressed before the snapshot is published and decompressed into a memfd by who has the snapshot
 * pinned, so neither happens to a file that is being restored from.
 *
 * All 0444 in a folder that only the daemon can enter. */

#include "frozen/snapshot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/packed.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "store/snapshots.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

char *snapshot_path(const Home *home, const char *id, const char *name) {
    return path_join(home->path, "snapshots", id, name);
}

bool snapshot_has_memory(const SnapshotRow *row) {
    return *row->data.files.memory.name;
}

bool snapshot_is_diff(const SnapshotRow *row) {
    return str_equal(row->data.kind, "diff");
}

int snapshot_open_file(Home *home, const SnapshotRow *snapshot, const SnapshotFile *file, int *fd,
                       char **path, Error *error) {
    _cleanup_free_ char *full = snapshot_path(home, snapshot->id, file->name);
    _cleanup_close_ int opened = -1;
    int r;
    if (!*file->name)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "snapshot %s has no memory",
                         *snapshot->name ? snapshot->name : snapshot->id);
    opened = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0)
        return error_set_errno(error, errno, "cannot open %s", full);
    r = stamp_check(opened, &file->stamp, snapshot_file_digest(file), full, error);
    if (r < 0)
        return r;
    *fd = TAKE_FD(opened);
    if (path)
        *path = TAKE_PTR(full);
    return 0;
}

/* ---- compressed ---- */

bool snapshot_file_is_packed(const SnapshotFile *file) {
    return str_equal(file->compressed, "zstd");
}

const char *snapshot_content_digest(const SnapshotFile *file) {
    return *file->tree ? file->tree : file->sha256;
}

const char *snapshot_file_digest(const SnapshotFile *file) {
    return *file->stored_sha256 ? file->stored_sha256 : snapshot_content_digest(file);
}

int snapshot_unpack_file(int fd, const SnapshotFile *file, int to, Error *error) {
    char found[SHA256_HEX_SIZE];
    int r = packed_read(fd, file->bytes, to, found, error);
    if (r >= 0 && !str_equal(found, file->sha256))
        r = error_set(error, ERROR_CORRUPT, EBADMSG,
                      "the memory is not what was saved: its SHA-256 differs");
    return r;
}

int snapshot_open_memory(Home *home, const SnapshotRow *snapshot, int *fd, Error *error) {
    const SnapshotFile *file = &snapshot->data.files.memory;
    _cleanup_close_ int opened = -1, memfd = -1;
    int r = snapshot_open_file(home, snapshot, file, &opened, NULL, error);
    if (r >= 0 && !snapshot_file_is_packed(file))
        *fd = TAKE_FD(opened);
    if (r < 0 || !snapshot_file_is_packed(file))
        return r;
    memfd = memfd_create("ramet-unpacked", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memfd < 0)
        return error_set_errno(error, errno, "cannot make a memfd");
    r = snapshot_unpack_file(opened, file, memfd, error);
    if (r < 0)
        return error_add_context(error, "snapshot %s", snapshot->id);
    if (fcntl(memfd, F_ADD_SEALS, SEALS) < 0)
        return error_set_errno(error, errno, "cannot seal a memfd");
    *fd = TAKE_FD(memfd);
    return 0;
}
