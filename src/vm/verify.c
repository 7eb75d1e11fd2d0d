/* SPDX-License-Identifier: Apache-2.0 */

/* Reading all that a snapshot stands on: every file is what was frozen (digest, inode, size),
 * nobody may write to it (mode), and hot memory is sealed and holds the same. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/diff.h"
#include "vm/snapshot_internal.h"

typedef struct Report {
    Ramet *ramet;         /* borrowed */
    Operation *operation; /* borrowed */
    json_t *checks;       /* owned */
    bool ok;
} Report;

static void add(Report *report, const char *what, const char *path, const char *problem) {
    (void)json_array_append_new(report->checks,
                                json_pack("{s:s, s:s, s:b, s:s}", "what", what, "path", path, "ok",
                                          problem == NULL, "message",
                                          problem ? problem : "as it was frozen"));
    report->ok &= problem == NULL;
}

/* NULL when all is well; else what is wrong, the caller's. digest is of the file as it lies there;
 * packed (may be NULL) is the entry of a compressed one, whose content is looked at as well. */
static char *find_problem(int fd, const char *digest, const json_t *stamp, const json_t *packed) {
    _cleanup_error_ Error error = ERROR_INIT;
    json_int_t size = json_integer_value(json_object_get(stamp, "size"));
    json_int_t inode = json_integer_value(json_object_get(stamp, "inode"));
    char found[FROZEN_DIGEST_SIZE];
    struct stat info;

    if (fstat(fd, &info) < 0)
        return str_format("it cannot be looked at: errno %d", errno);
    if (stamp && (json_int_t)info.st_size != size)
        return str_format("it was cut or grew: %lld bytes, not %lld", (long long)info.st_size,
                          (long long)size);
    if (packed && snapshot_unpack_file(fd, packed, -1, &error) < 0)
        return str_copy(error_message(&error));
    if (frozen_digest(fd, digest, found, &error) < 0)
        return str_copy(error_message(&error));
    if (!str_equal(found, digest))
        return str_format("its content was changed: SHA-256 %.22s…, not %.22s…", found, digest);
    if (info.st_mode & 0222)
        return str_format("it can be written to: mode %04o", (unsigned)(info.st_mode & 07777));
    if (stamp && (json_int_t)info.st_ino != inode)
        return str_format("it is another file of the same content: inode %llu, not %lld",
                          (unsigned long long)info.st_ino, (long long)inode);
    return NULL;
}

static void check_path(Report *report, const char *what, const char *path, const char *digest,
                       const json_t *stamp, const json_t *packed) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_free_ char *problem = NULL;

    operation_progress(report->operation, what, 0, 0);
    if (fd < 0)
        problem = str_format("it cannot be opened: %s", errno == ENOENT ? "it is gone" : "denied");
    else
        problem = find_problem(fd, digest ? digest : "", stamp, packed);
    add(report, what, path, problem);
}

static void check_file(Report *report, const SnapshotRow *row, const char *which) {
    const json_t *file = snapshot_file(row, which);
    const char *name = json_string_value(json_object_get(file, "name"));
    _cleanup_free_ char *path = name ? snapshot_path(report->ramet, row->id, name) : NULL;

    if (path)
        check_path(report, which, path, snapshot_file_digest(file), json_object_get(file, "stamp"),
                   snapshot_file_is_packed(file) ? file : NULL);
}

static void check_diff(Report *report, const SnapshotRow *row) {
    const char *name = json_string_value(json_object_get(snapshot_file(row, "memory"), "name"));
    _cleanup_free_ char *path = snapshot_path(report->ramet, row->id, name);
    _cleanup_error_ Error error = ERROR_INIT, none = ERROR_INIT;
    _cleanup_close_ int fd = -1;

    if (snapshot_open_memory(report->ramet, row, &fd, &none) < 0)
        return; /* its file was found bad already */
    if (memory_diff_check(fd, snapshot_u64(row, "memory_bytes"), &error) < 0)
        add(report, "diff", path, error_message(&error));
}

static void check_base(Report *report, const SnapshotRow *row) {
    _cleanup_snapshot_row_ SnapshotRow owner = {0};

    if (!*row->base || str_equal(row->base, row->id))
        return;
    check_diff(report, row);
    if (snapshots_get(report->ramet->store, row->base, &owner, NULL) < 0)
        add(report, "memory base", row->base, "the snapshot that it belongs to is gone");
    else
        check_file(report, &owner, "memory");
}

static void check_hot(Report *report, const SnapshotRow *row) {
    _cleanup_free_ char *problem = hot_memory_find_problem(report->ramet, row->base);
    uint64_t inode = hot_memory_inode(report->ramet, row->base);
    _cleanup_free_ char *name = str_format("memfd of inode %llu", (unsigned long long)inode);

    if (inode)
        add(report, "hot memory", name, problem);
}

static void check_layers(Report *report, const SnapshotRow *row) {
    char id[VM_ID_SIZE];

    (void)snprintf(id, sizeof(id), "%s", row->layer);
    while (*id) {
        _cleanup_(layer_row_free) LayerRow layer = {0};
        _cleanup_free_ char *path = layer_path(report->ramet, id);

        if (layers_get(report->ramet->store, id, &layer, NULL) < 0) {
            add(report, "disk layer", path, "nothing is known of it");
            return;
        }
        check_path(report, "disk layer", path, layer.sha256, layer.stamp, NULL);
        (void)snprintf(id, sizeof(id), "%s", layer.parent);
    }
}

static void check_image(Report *report, const SnapshotRow *row) {
    const char *digest = row->image_digest;

    check_path(report, "disk base", snapshot_text(row, "base_path"),
               str_has_prefix(digest, "sha256:") ? digest + 7 : digest, NULL, NULL);
}

int snapshot_verify(Ramet *ramet, Operation *operation, const char *reference, json_t **report,
                    Error *error) {
    _cleanup_json_ json_t *checks = json_array();
    Report made = {.ramet = ramet, .operation = operation, .checks = checks, .ok = true};
    _cleanup_snapshot_row_ SnapshotRow found = {0}, row = {0};
    int r = snapshots_find(ramet->store, reference, &found, error);

    if (r >= 0)
        r = snapshot_pin(ramet, found.id, &row, error);
    if (r < 0)
        return r;
    operation_enter(operation, "verify");
    check_file(&made, &row, "memory");
    check_file(&made, &row, "state");
    check_base(&made, &row);
    check_hot(&made, &row);
    check_layers(&made, &row);
    check_image(&made, &row);
    snapshot_unpin(ramet, row.id);
    *report =
        json_pack("{s:s, s:o, s:b, s:O}", "id", row.id, "name",
                  *row.name ? json_string(row.name) : json_null(), "ok", made.ok, "checks", checks);
    return 0;
}
