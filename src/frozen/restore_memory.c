/* SPDX-License-Identifier: Apache-2.0 */

/* Nobody may be able to write to memory that many map. Where QEMU has readonly=on,rom=off, clones
 * of a snapshot whose file is a memory base map that file, 0444. An older QEMU opens its memory
 * read-write even for a private mapping; there, and always where the file is a diff or compressed,
 * the whole memory is laid into a memfd that is then sealed ("hot memory", hot_memory.c): what the
 * diff stands on, and its pages over it, down to a memory base or to memory that is hot already. So
 * a clone has one mapping and no page of its own, whatever its source wrote and however long the
 * chain of diffs is (docs/snapshots.md weighs this against other ways).
 *
 * Each file is hashed on the way, so that one that was changed on disk is refused before the first
 * clone sees it.
 *
 * A VM that is resumed is the only one to map what its standby saved. It maps the memory that it
 * had before, and gets its own diff written over it: pages that it alone has anyway. */

#include "frozen/restore_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "base/tree_digest.h"
#include "frozen/hot_memory.h"
#include "frozen/hot_of_clone.h"
#include "frozen/packed.h"
#include "frozen/snapshot_files.h"
#include "frozen/stamp.h"
#include "home/admission.h"
#include "home/host.h"
#include "home/inside.h"
#include "memory/copy.h"
#include "memory/diff.h"
#include "memory/seal.h"

void restore_memory_free(RestoreMemory *memory) {
    memory->fd = fd_close(memory->fd);
    free(memory->name);
    memory->name = NULL;
    while (memory->n_patches > 0)
        (void)fd_close(memory->patches[--memory->n_patches]);
}

static int get_base(Home *home, const SnapshotRow *row, SnapshotRow *base, Error *error) {
    int r = snapshots_get(home->store, row->base, base, error);
    return r < 0 ? error_add_context(error, "the memory of snapshot %s stands on another one's",
                                     row->id)
                 : 0;
}

/* What its memory takes in memory, by what its file takes. */
static uint64_t own_bytes(Home *home, const SnapshotRow *row) {
    const SnapshotFile *file = &row->data.files.memory;
    _cleanup_free_ char *path = snapshot_path(home, row->id, file->name);
    struct stat info = {0};
    if (snapshot_file_is_packed(file))
        return file->data_bytes;
    return stat(path, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
}

/* With what it stands on, at most. */
static uint64_t estimate_bytes(Home *home, const SnapshotRow *row) {
    _cleanup_snapshot_row_ SnapshotRow base = {0};
    uint64_t bytes = own_bytes(home, row);
    if (snapshot_is_diff(row) && get_base(home, row, &base, NULL) >= 0)
        bytes += estimate_bytes(home, &base);
    return MIN_OF(bytes, row->data.memory_bytes);
}

/* ---- laying it into a memfd ---- */

typedef struct Laying {
    Home *home;                  /* borrowed */
    const SnapshotRow *snapshot; /* borrowed */
} Laying;

static int store_page(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    const int *memfd = data;
    return fd_pwrite_full(*memfd, bytes, size, offset);
}

/* Gives visit what the file holds, and compares its digest: the SHA-256 where an earlier version
 * saved it, and of what was compressed. One that was saved a moment ago has none yet; its stamp was
 * compared. */
static int read_file(Home *home, const SnapshotRow *row, TreeDigestVisitor visit, void *data,
                     int opened, Error *error) {
    const TreeDigestOptions options = {.cancel_fd = -1, .visit = visit, .data = data};
    const SnapshotFile *file = &row->data.files.memory;
    const char *recorded = snapshot_content_digest(file);
    char found[FROZEN_DIGEST_SIZE];
    int r = tree_digest_file(opened, &options, found, error);
    if (r < 0 || !*recorded)
        return r;
    if (!frozen_digest_is_tree(recorded) && !snapshot_file_is_packed(file))
        r = sha256_file(opened, found, error);
    if (r < 0 || snapshot_file_is_packed(file) || str_equal(found, recorded))
        return r;
    return error_set(error, ERROR_CORRUPT, EBADMSG,
                     "the memory of snapshot %s is not what was saved: its SHA-256 differs",
                     row->id);
}

static int lay_base(Home *home, const SnapshotRow *row, int memfd, Error *error) {
    _cleanup_close_ int opened = -1;
    int r = snapshot_open_memory(home, row, &opened, error);
    return r < 0 ? r : read_file(home, row, store_page, &memfd, opened, error);
}

static int lay_diff(Home *home, const SnapshotRow *row, int memfd, Error *error) {
    _cleanup_(memory_diff_close_p) MemoryDiff *diff = NULL;
    _cleanup_close_ int opened = -1;
    int r = snapshot_open_memory(home, row, &opened, error);
    if (r >= 0)
        r = memory_diff_open(opened, row->data.memory_bytes, memfd, &diff, error);
    return r < 0 ? r : read_file(home, row, memory_diff_store, diff, opened, error);
}

/* Hot memory was checked when it was made. */
static int lay(Home *home, const SnapshotRow *row, int memfd, Error *error) {
    _cleanup_close_ int hot = hot_memory_find(home, row->id);
    _cleanup_snapshot_row_ SnapshotRow base = {0};
    int r;
    if (hot >= 0) {
        r = memory_copy_data(hot, memfd, row->data.memory_bytes);
        return r < 0 ? error_set_errno(error, -r, "cannot copy hot memory") : 0;
    }
    if (!snapshot_is_diff(row))
        return lay_base(home, row, memfd, error);
    r = get_base(home, row, &base, error);
    if (r >= 0)
        r = lay(home, &base, memfd, error);
    return r < 0 ? r : lay_diff(home, row, memfd, error);
}

static int make(void *data, Error *error) {
    const Laying *laying = data;
    const SnapshotRow *row = laying->snapshot;
    _cleanup_close_ int fd = hot_memory_open_of_clone(laying->home, row->id);
    int r;
    if (fd >= 0)
        return TAKE_FD(fd);
    if (row->data.unwritten)
        return error_set(
            error, ERROR_CORRUPT, ENODATA,
            "the memory of snapshot %s was lost: the daemon ended before it was written", row->id);
    r = admission_check_memory(estimate_bytes(laying->home, row), error);
    if (r < 0)
        return r;
    fd = hot_memory_new(row->id, row->data.memory_bytes, error);
    if (fd < 0)
        return fd;
    r = lay(laying->home, row, fd, error);
    if (r < 0)
        return error_add_context(error, "cannot fill hot memory of snapshot %s", row->id);
    r = memory_seal(fd);
    return r < 0 ? error_set_errno(error, -r, "cannot seal hot memory") : TAKE_FD(fd);
}

/* ---- opening it ---- */

int restore_memory_open_hot(Home *home, const SnapshotRow *row, int *fd, Error *error) {
    Laying laying = {.home = home, .snapshot = row};
    HotMemoryMaker maker = {.id = row->id,
                            .bytes = estimate_bytes(home, row),
                            .only = row->data.unwritten,
                            .make = make,
                            .data = &laying};
    return hot_memory_get(home, &maker, fd, error);
}

static bool is_mapped_itself(const QemuFeatures *features, const SnapshotRow *row) {
    return features->memory_rom && !snapshot_is_diff(row) && !row->data.unwritten &&
           !snapshot_file_is_packed(&row->data.files.memory);
}

/* A file that is still to be written is not looked at: it may be half written, by a daemon that was
 * killed or at this moment. */
static int open_shared(Home *home, const QemuFeatures *features, const SnapshotRow *row,
                       RestoreMemory *memory, Error *error) {
    const SnapshotFile *file = &row->data.files.memory;
    _cleanup_close_ int opened = -1;
    int r = 0;
    if (row->data.unwritten)
        memory->name = snapshot_path(home, row->id, file->name);
    else
        r = snapshot_open_file(home, row, file, &opened, &memory->name, error);
    if (r < 0)
        return r;
    if (is_mapped_itself(features, row))
        memory->fd = TAKE_FD(opened);
    else
        r = restore_memory_open_hot(home, row, &memory->fd, error);
    str_set(memory->owner, row->id);
    return r;
}

static int open_patched(Home *home, const QemuFeatures *features, const SnapshotRow *row,
                        RestoreMemory *memory, Error *trouble, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow base = {0};
    int fd, r = get_base(home, row, &base, error);
    if (r >= 0)
        r = restore_memory_open(home, features, &base, true, memory, trouble, error);
    if (r < 0)
        return r;
    if (memory->n_patches == PLAN_PATCHES_MAX)
        return error_move(error, trouble); /* the budget, again */
    r = admission_check_memory(own_bytes(home, row), error);
    if (r >= 0)
        r = snapshot_open_memory(home, row, &fd, error);
    if (r >= 0)
        memory->patches[memory->n_patches++] = fd;
    return MIN_OF(r, 0);
}

int restore_memory_open(Home *home, const QemuFeatures *features, const SnapshotRow *snapshot,
                        bool shared, RestoreMemory *memory, Error *trouble, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;
    *memory = (RestoreMemory){.fd = -1};
    if (!shared && snapshot_is_diff(snapshot))
        return open_patched(home, features, snapshot, memory, trouble, error);
    r = open_shared(home, features, snapshot, memory, &failure);
    if (r >= 0)
        return 0;
    restore_memory_free(memory);
    if (failure.kind != ERROR_NO_MEMORY || !snapshot_is_diff(snapshot))
        return error_move(error, &failure);
    error_clear(trouble);
    (void)error_move(trouble, &failure);
    return open_patched(home, features, snapshot, memory, trouble, error);
}

/* ---- looking at it ---- */

unsigned restore_memory_depth(Home *home, const char *id) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    if (snapshots_get(home->store, id, &row, NULL) < 0 || !snapshot_is_diff(&row))
        return 0;
    return 1 + restore_memory_depth(home, row.base);
}

bool restore_memory_seals_bases(Home *home) {
    QemuFeatures features = {0};
    const char *accel;
    bool seals = host_probe(home, &features, &accel, NULL) >= 0 && !features.memory_rom;
    qemu_features_free(&features);
    return seals;
}

char *restore_memory_find_problem(Home *home, const SnapshotRow *snapshot) {
    const char *digest = snapshot_content_digest(&snapshot->data.files.memory);
    _cleanup_close_ int fd = hot_memory_find(home, snapshot->id);
    char found[FROZEN_DIGEST_SIZE];
    if (fd < 0)
        return NULL;
    if (!memory_is_sealed(fd))
        return str_copy("it is not sealed");
    if (snapshot_is_diff(snapshot) || !*digest)
        return NULL; /* no digest is of all of it */
    if (frozen_digest(fd, digest, found, NULL) < 0 || !str_equal(found, digest))
        return str_copy("its content is not the snapshot's");
    return NULL;
}
