/* SPDX-License-Identifier: Apache-2.0 */

/* What the clones grow from: memory, device state, every layer of the disk, the image's base, and
 * the memory that the clones map. Each has the inode and the content that it had before the first
 * clone was there. The content is compared by SHA-256, of a memory base by the tree digest, with
 * which its SHA-256 was computed or is computed now. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/prove_internal.h"

static int look(const char *path, const char *like, uint64_t *inode,
                char digest[FROZEN_DIGEST_SIZE], Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;

    if (fd < 0 || fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    *inode = info.st_ino;
    return frozen_digest(fd, like, digest, error);
}

static void add(Prove *prove, const char *what, const char *path, uint64_t inode,
                const char *sha256, const char *tree) {
    json_t *entry = json_pack("{s:s, s:s, s:I, s:s}", "what", what, "path", path, "inode",
                              (json_int_t)inode, "sha256", sha256);

    if (tree)
        (void)json_object_set_new(entry, "tree", json_string(tree));
    (void)json_array_append_new(prove->frozen, entry);
}

static int add_path(Prove *prove, const char *what, const char *path, Error *error) {
    char sha256[FROZEN_DIGEST_SIZE];
    uint64_t inode;
    int r;

    if (!path || !*path)
        return 0;
    r = look(path, "", &inode, sha256, error);
    if (r >= 0)
        add(prove, what, path, inode, sha256, NULL);
    return r;
}

static int add_tree(Prove *prove, const char *what, const char *path, const json_t *file,
                    Error *error) {
    const char *tree = json_string_value(json_object_get(file, "tree"));
    char found[FROZEN_DIGEST_SIZE];
    uint64_t inode;
    int r = look(path, tree, &inode, found, error);

    if (r < 0)
        return r;
    if (!str_equal(found, tree))
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "%s is not what was frozen: its content was changed (SHA-256)", path);
    add(prove, what, path, inode, json_string_value(json_object_get(file, "sha256")), tree);
    return 0;
}

static int add_snapshot_file(Prove *prove, SnapshotRow *row, const char *what, const char *which,
                             Error *error) {
    int r = snapshot_await_sha256(prove->ramet, prove->operation->cancel_fd, row, error);
    const json_t *file = snapshot_file(row, which);
    const char *name = json_string_value(json_object_get(file, "name"));
    _cleanup_free_ char *path = name ? snapshot_path(prove->ramet, row->id, name) : NULL;

    if (r < 0)
        return r;
    return json_object_get(file, "tree") ? add_tree(prove, what, path, file, error)
                                         : add_path(prove, what, path, error);
}

/* A diff stands on another snapshot's whole memory. */
static int add_base(Prove *prove, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow owner = {0};
    int r;

    if (!*prove->snapshot.base || str_equal(prove->snapshot.base, prove->snapshot.id))
        return 0;
    r = snapshots_get(prove->ramet->store, prove->snapshot.base, &owner, error);
    return r < 0 ? r : add_snapshot_file(prove, &owner, "memory base", "memory", error);
}

static int add_layers(Prove *prove, Error *error) {
    char id[VM_ID_SIZE];
    int r = 0;

    (void)snprintf(id, sizeof(id), "%s", prove->snapshot.layer);
    while (r >= 0 && *id) {
        _cleanup_(layer_row_free) LayerRow layer = {0};
        _cleanup_free_ char *path = layer_path(prove->ramet, id);

        r = layers_get(prove->ramet->store, id, &layer, error);
        if (r >= 0)
            r = add_path(prove, "disk layer", path, error);
        (void)snprintf(id, sizeof(id), "%s", layer.parent);
    }
    return r;
}

int prove_freeze_frame(Prove *prove, Error *error) {
    int r = add_snapshot_file(prove, &prove->snapshot, "memory", "memory", error);

    if (r >= 0)
        r = add_snapshot_file(prove, &prove->snapshot, "device state", "state", error);
    if (r >= 0)
        r = add_base(prove, error);
    if (r >= 0)
        r = add_layers(prove, error);
    if (r >= 0)
        r = add_path(prove, "disk base", snapshot_text(&prove->snapshot, "base_path"), error);
    return r;
}

static char *find_change(const json_t *file) {
    const char *path = json_string_value(json_object_get(file, "path"));
    const char *tree = json_string_value(json_object_get(file, "tree"));
    const char *was = tree ? tree : json_string_value(json_object_get(file, "sha256"));
    json_int_t inode_was = json_integer_value(json_object_get(file, "inode"));
    _cleanup_error_ Error error = ERROR_INIT;
    char found[FROZEN_DIGEST_SIZE];
    uint64_t inode;

    if (look(path, was, &inode, found, &error) < 0)
        return str_copy(error_message(&error));
    if ((json_int_t)inode != inode_was)
        return str_format("%s is another file now: inode %llu, it was %lld", path,
                          (unsigned long long)inode, (long long)inode_was);
    if (!str_equal(found, was))
        return str_format("the content of %s changed: SHA-256 %.22s…, it was %.22s…", path, found,
                          was);
    return NULL;
}

/* The memory that clones map in place of the file has the file's content, and nobody can write to
 * it. */
static char *find_hot_change(Prove *prove) {
    return *prove->snapshot.base ? hot_memory_find_problem(prove->ramet, prove->snapshot.base)
                                 : NULL;
}

void prove_check_frozen(Prove *prove, const char *when) {
    _cleanup_free_ char *what = str_format("parent unchanged %s", when);
    _cleanup_free_ char *good = NULL, *problem = NULL;
    const json_t *file;
    size_t i;

    json_array_foreach(prove->frozen, i, file) {
        if (!problem)
            problem = find_change(file);
    }
    if (!problem)
        problem = find_hot_change(prove);
    good = str_format("inode and SHA-256 of %zu files", json_array_size(prove->frozen));
    prove_add(prove, what, problem, good);
}
