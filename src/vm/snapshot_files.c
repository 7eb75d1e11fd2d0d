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

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/packed.h"
#include "vm/snapshot_internal.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

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
    _cleanup_free_ char *full = snapshot_path(ramet, snapshot->id, name ? name : which);
    _cleanup_close_ int opened = -1;
    int r;

    if (!name)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "snapshot %s has no %s",
                         *snapshot->name ? snapshot->name : snapshot->id, which);
    opened = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0)
        return error_set_errno(error, errno, "cannot open %s", full);
    r = stamp_check(opened, json_object_get(file, "stamp"), snapshot_file_digest(file), full,
                    error);
    if (r < 0)
        return r;
    *fd = TAKE_FD(opened);
    if (path)
        *path = TAKE_PTR(full);
    return 0;
}

/* --- compressed --------------------------------------------------------------------------------
 */

bool snapshot_file_is_packed(const json_t *file) {
    return str_equal(json_string_value(json_object_get(file, "compressed")), "zstd");
}

const char *snapshot_content_digest(const json_t *file) {
    const char *tree = json_string_value(json_object_get(file, "tree"));
    const char *digest = tree ? tree : json_string_value(json_object_get(file, "sha256"));

    return digest ? digest : "";
}

const char *snapshot_file_digest(const json_t *file) {
    const char *stored = json_string_value(json_object_get(file, "stored_sha256"));

    return stored ? stored : snapshot_content_digest(file);
}

static int pack(int from, int to, json_t **entry, Error *error) {
    char sha256[SHA256_HEX_SIZE], stored[SHA256_HEX_SIZE];
    struct stat info;
    uint64_t bytes;
    int r = packed_write(from, to, sha256, &bytes, error);

    if (r >= 0)
        r = sha256_file(to, stored, error);
    if (r < 0)
        return r;
    if (fstat(from, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the saved memory");
    *entry = json_pack("{s:s, s:s, s:s, s:I, s:I}", "sha256", sha256, "compressed", "zstd",
                       "stored_sha256", stored, "bytes", (json_int_t)bytes, "data_bytes",
                       (json_int_t)info.st_blocks * 512);
    return 0;
}

int snapshot_pack_file(int dir_fd, const char *name, json_t **entry, Error *error) {
    _cleanup_free_ char *packed = str_format("%s.zst", name);
    _cleanup_close_ int from = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_close_ int to =
        from < 0 ? -1 : openat(dir_fd, packed, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_json_ json_t *made = NULL;
    int r;

    if (to < 0)
        return error_set_errno(error, errno, "cannot open %s to compress it", name);
    r = pack(from, to, &made, error);
    if (r >= 0 && unlinkat(dir_fd, name, 0) < 0)
        r = error_set_errno(error, errno, "cannot remove what was compressed");
    if (r < 0) {
        (void)unlinkat(dir_fd, packed, 0);
        return r;
    }
    (void)json_object_set_new(made, "name", json_string(packed));
    *entry = TAKE_PTR(made);
    return 0;
}

int snapshot_unpack_file(int fd, const json_t *file, int to, Error *error) {
    const char *sha256 = json_string_value(json_object_get(file, "sha256"));
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(file, "bytes"));
    char found[SHA256_HEX_SIZE];
    int r = packed_read(fd, bytes, to, found, error);

    if (r >= 0 && !str_equal(found, sha256))
        r = error_set(error, ERROR_CORRUPT, EBADMSG,
                      "the memory is not what was saved: its SHA-256 differs");
    return r;
}

int snapshot_open_memory(Ramet *ramet, const SnapshotRow *snapshot, int *fd, Error *error) {
    const json_t *file = snapshot_file(snapshot, "memory");
    _cleanup_close_ int opened = -1, memfd = -1;
    int r = snapshot_open_file(ramet, snapshot, "memory", &opened, NULL, error);

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
