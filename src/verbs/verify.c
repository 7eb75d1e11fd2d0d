/* SPDX-License-Identifier: Apache-2.0 */

/* Reading all that a snapshot stands on: every file is what was frozen (digest, inode, size),
 * nobody may write to it (mode), and hot memory is sealed and holds the same. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/hot_memory.h"
#include "frozen/layers.h"
#include "frozen/memory_digest.h"
#include "frozen/pins.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "memory/diff.h"
#include "store/disks/layers.h"
#include "store/snapshots.h"
#include "store/vms.h"
#include "verbs/verbs.h"

typedef struct Report {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    json_t *checks;       /* owned */
    bool ok;
} Report;

/* The check that was added, borrowed. */
static json_t *add(Report *report, const char *what, const char *path, const char *problem) {
    json_t *check = json_pack("{s:s, s:s, s:b, s:s, s:n, s:n, s:n}", "what", what, "path", path,
                              "ok", problem == NULL, "message",
                              problem ? problem : "as it was frozen", "inode", "sha256", "tree");
    (void)json_array_append_new(report->checks, check);
    report->ok &= problem == NULL;
    return check;
}

/* Which file it was, and what was in it. */
static void add_found(json_t *check, int fd, const char *digest) {
    struct stat info;
    if (fd < 0 || !*digest || fstat(fd, &info) < 0)
        return;
    (void)json_object_set_new(check, "inode", json_integer((json_int_t)info.st_ino));
    (void)json_object_set_new(check, frozen_digest_is_tree(digest) ? "tree" : "sha256",
                              json_string(digest));
}

/* NULL when all is well; else what is wrong, the caller's. digest is of the file as it lies there;
 * stamp may be none; packed (may be NULL) is a compressed one, whose content is looked at as well.
 */
static char *find_problem(int fd, const char *digest, const FileStamp *stamp,
                          const SnapshotFile *packed, char found[FROZEN_DIGEST_SIZE]) {
    _cleanup_error_ Error error = ERROR_INIT;
    struct stat info;
    if (fstat(fd, &info) < 0)
        return str_format("it cannot be looked at: errno %d", errno);
    if (stamp->inode && (uint64_t)info.st_size != stamp->size)
        return str_format("it was cut or grew: %lld bytes, not %llu", (long long)info.st_size,
                          (unsigned long long)stamp->size);
    if (packed && snapshot_unpack_file(fd, packed, -1, &error) < 0)
        return str_copy(error_message(&error));
    if (frozen_digest(fd, digest, found, &error) < 0)
        return str_copy(error_message(&error));
    if (!str_equal(found, digest))
        return str_format("its content was changed: SHA-256 %.22s…, not %.22s…", found, digest);
    if (info.st_mode & 0222)
        return str_format("it can be written to: mode %04o", (unsigned)(info.st_mode & 07777));
    if (stamp->inode && info.st_ino != stamp->inode)
        return str_format("it is another file of the same content: inode %llu, not %llu",
                          (unsigned long long)info.st_ino, (unsigned long long)stamp->inode);
    return NULL;
}

static void check_path(Report *report, const char *what, const char *path, const char *digest,
                       const FileStamp *stamp, const SnapshotFile *packed) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_free_ char *problem = NULL;
    char found[FROZEN_DIGEST_SIZE] = "";
    operation_progress(report->operation, what, 0, 0);
    if (fd < 0)
        problem = str_format("it cannot be opened: %s", errno == ENOENT ? "it is gone" : "denied");
    else
        problem = find_problem(fd, digest, stamp, packed, found);
    add_found(add(report, what, path, problem), fd, found);
}

static void check_file(Report *report, const SnapshotRow *row, const char *what,
                       const SnapshotFile *file) {
    _cleanup_free_ char *path = snapshot_path(report->home, row->id, file->name);
    if (*file->name)
        check_path(report, what, path, snapshot_file_digest(file), &file->stamp,
                   snapshot_file_is_packed(file) ? file : NULL);
}

static void check_diff(Report *report, const SnapshotRow *row) {
    _cleanup_free_ char *path = snapshot_path(report->home, row->id, row->data.files.memory.name);
    _cleanup_error_ Error error = ERROR_INIT, none = ERROR_INIT;
    _cleanup_close_ int fd = -1;
    if (snapshot_open_memory(report->home, row, &fd, &none) < 0)
        return; /* its file was found bad already */
    if (memory_diff_check(fd, row->data.memory_bytes, &error) < 0)
        (void)add(report, "diff", path, error_message(&error));
}

/* One that was saved a moment ago gets its digest first. */
static void check_memory(Report *report, SnapshotRow *row) {
    if (row->data.unwritten)
        return;
    (void)snapshot_await_digest(report->home, report->operation->cancel_fd, row, NULL);
    check_file(report, row, "memory", &row->data.files.memory);
}

/* The chain of diffs that it stands on, down to a memory base. */
static void check_base(Report *report, const SnapshotRow *row) {
    _cleanup_snapshot_row_ SnapshotRow owner = {0};
    if (!snapshot_is_diff(row))
        return;
    check_diff(report, row);
    if (snapshots_get(report->home->store, row->base, &owner, NULL) < 0) {
        (void)add(report, "memory base", row->base, "the snapshot that it belongs to is gone");
        return;
    }
    check_memory(report, &owner);
    check_base(report, &owner);
}

static void check_hot(Report *report, const SnapshotRow *row) {
    _cleanup_free_ char *problem = restore_memory_find_problem(report->home, row);
    uint64_t inode = hot_memory_inode(report->home, row->id);
    _cleanup_free_ char *name = str_format("memfd of inode %llu", (unsigned long long)inode);
    if (inode)
        (void)add(report, "hot memory", name, problem);
}

static void check_layers(Report *report, const char *top) {
    char id[VM_ID_SIZE];
    str_set(id, top);
    while (*id) {
        _cleanup_(layer_row_free) LayerRow layer = {0};
        _cleanup_free_ char *path = layer_path(report->home, id);
        if (layers_get(report->home->store, id, &layer, NULL) < 0) {
            add(report, "disk layer", path, "nothing is known of it");
            return;
        }
        check_path(report, "disk layer", path, layer.sha256, &layer.stamp, NULL);
        (void)snprintf(id, sizeof(id), "%s", layer.parent);
    }
}

static void check_image(Report *report, const SnapshotRow *row) {
    const char *digest = row->image_digest;
    check_path(report, "disk base", str_or_empty(row->data.base_path),
               str_has_prefix(digest, "sha256:") ? digest + 7 : digest, &(FileStamp){0}, NULL);
}

/* What its disks beside the root stand on. */
static void check_disks(Report *report, const SnapshotRow *row) {
    const VmMounts *mounts = &row->data.spec.mounts;
    for (size_t i = 0; i < row->data.disks.count; i++)
        check_layers(report, row->data.disks.items[i].layer);
    for (size_t i = 0; i < mounts->count; i++) {
        _cleanup_free_ char *path = seed_base_path(report->home->path, mounts->items[i].base);
        if (*mounts->items[i].base)
            check_path(report, mounts->items[i].kind == VM_MOUNT_CONFIG ? "config disk" : "seed",
                       path, mounts->items[i].base, &(FileStamp){0}, NULL);
    }
}

int snapshot_verify(Home *home, Operation *operation, const char *reference, json_t **report,
                    Error *error) {
    _cleanup_json_ json_t *checks = json_array();
    Report made = {.home = home, .operation = operation, .checks = checks, .ok = true};
    _cleanup_snapshot_row_ SnapshotRow found = {0}, row = {0};
    int r = snapshots_find(home->store, reference, &found, error);
    if (r >= 0)
        r = snapshot_pin(home, found.id, &row, error);
    if (r < 0)
        return r;
    operation_enter(operation, "verify");
    check_memory(&made, &row);
    check_file(&made, &row, "state", &row.data.files.state);
    check_base(&made, &row);
    check_hot(&made, &row);
    check_layers(&made, row.layer);
    check_disks(&made, &row);
    check_image(&made, &row);
    snapshot_unpin(home, row.id);
    *report =
        json_pack("{s:s, s:o, s:b, s:O}", "id", row.id, "name",
                  *row.name ? json_string(row.name) : json_null(), "ok", made.ok, "checks", checks);
    return 0;
}
