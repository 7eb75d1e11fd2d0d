/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layers/layer_apply.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "disk/layers/tree_path.h"
#include "disk/rootfs/tar_attributes.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define OTHER_MARKS ".wh..wh." /* aufs's own */
#define FAST_LINK_MAX 60       /* a longer target of a symbolic link has blocks */

static int refuse(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "%s", why);
}

/* ---- what is gone ---- */

static int apply_opaque(LayerApply *apply, const char *path, Error *error) {
    TreePlace place;
    int r = tree_find_place(apply->tree, path, apply->number, false, 0, &place, error);
    if (r > 0)
        tree_hide_lower(apply->tree, place.parent, apply->number);
    return MIN_OF(r, 0);
}

static int apply_whiteout(LayerApply *apply, const char *path, const char *hidden, Error *error) {
    TreePlace place;
    TreeNode *node;
    int r;
    if (!*hidden || str_equal(hidden, ".") || str_equal(hidden, ".."))
        return refuse(error, "a whiteout of no name in its folder");
    r = tree_find_place(apply->tree, path, apply->number, false, 0, &place, error);
    node = r > 0 ? tree_child(apply->tree, place.parent, hidden, strlen(hidden)) : NULL;
    if (!node)
        return MIN_OF(r, 0);
    tree_hide_lower(apply->tree, node, apply->number);
    if (node->layer < apply->number && !node->first)
        tree_remove(apply->tree, node);
    return 0;
}

/* ---- what is there ---- */

/* Only these name spaces are known to Linux. What other systems' tools add means nothing there. */
static int keep_attribute(void *data, const char *key, const void *value, size_t size,
                          Error *error) {
    static const char *const kept[] = {"user.", "trusted.", "security.", "system.posix_acl_"};
    void *const *both = data;
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        if (str_has_prefix(key, kept[i]) && strlen(key) <= TREE_NAME_MAX)
            return tree_file_attribute(both[0], both[1], key, value, size, error);
    return 0;
}

static int read_meta(LayerApply *apply, TreeFile *file, struct archive_entry *entry, Error *error) {
    void *both[] = {apply->tree, file};
    la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
        return refuse(error, "an owner that no system has");
    file->mode = archive_entry_mode(entry);
    file->uid = (uint32_t)uid;
    file->gid = (uint32_t)gid;
    file->changed_sec = archive_entry_mtime(entry);
    file->changed_nsec = (uint32_t)archive_entry_mtime_nsec(entry) % 1000000000u;
    file->device = archive_entry_rdev(entry);
    tree_file_drop_attributes(file);
    return unpack_attributes(entry, keep_attribute, both, error);
}

int layer_too_much(const LayerApply *apply, const char *what, uint64_t max_bytes, Error *error) {
    bool room = apply->bound_by_room;
    error_set(error, room ? ERROR_NO_SPACE : ERROR_CORRUPT, room ? ENOSPC : EFBIG,
              "%smore than the %llu bytes %s", what, (unsigned long long)max_bytes,
              room ? "that there is room for" : "allowed in all");
    error_set_hint(error, "is it an archive bomb? Otherwise make room on the file system");
    return room ? -ENOSPC : -EFBIG;
}

static int copy_content(LayerApply *apply, TarReader *reader, const TreeFile *file, Error *error) {
    const void *data;
    size_t length;
    la_int64_t offset;
    for (;;) {
        int r = archive_read_data_block(reader->archive, &data, &length, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return tar_reader_error(reader, error);
        if (offset < 0 || (uint64_t)offset > file->size || length > file->size - (uint64_t)offset)
            return refuse(error, "data behind the end of the file");
        r = apply->ext4 ? ext4_write(apply->ext4, file, data, length, (uint64_t)offset, error) : 0;
        if (r < 0)
            return r;
    }
}

static int fill_file(LayerApply *apply, TarReader *reader, TreeFile *file,
                     struct archive_entry *entry, Error *error) {
    int r;
    file->size = archive_entry_size(entry) > 0 ? (uint64_t)archive_entry_size(entry) : 0;
    if (file->size > apply->max_bytes - apply->bytes)
        return layer_too_much(apply, "", apply->max_bytes, error);
    apply->bytes += file->size;
    r = apply->ext4 ? ext4_allocate(apply->ext4, file, error) : 0;
    return r < 0 ? r : copy_content(apply, reader, file, error);
}

static int fill_link(LayerApply *apply, TreeFile *file, struct archive_entry *entry, Error *error) {
    const char *target = archive_entry_symlink(entry);
    int r = 0;
    if (!target || !*target || strlen(target) > TREE_PATH_MAX)
        return refuse(error, "symbolic link to nothing, or too far");
    file->target = str_copy(target);
    file->size = strlen(target);
    if (file->size >= FAST_LINK_MAX && apply->ext4) {
        r = ext4_allocate(apply->ext4, file, error);
        if (r >= 0)
            r = ext4_write(apply->ext4, file, target, file->size, 0, error);
    }
    return r;
}

static int fill_by_type(LayerApply *apply, TarReader *reader, TreeFile *file,
                        struct archive_entry *entry, Error *error) {
    switch (file->mode & S_IFMT) {
    case S_IFREG:
        return fill_file(apply, reader, file, entry, error);
    case S_IFLNK:
        return fill_link(apply, file, entry, error);
    case S_IFDIR:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return 0;
    default:
        return refuse(error, "unknown type of entry");
    }
}

/* Puts a file at its name. A folder's other names go with it. */
static int put(LayerApply *apply, const TreePlace *place, TreeFile *file, Error *error) {
    TreeNode *there = tree_child(apply->tree, place->parent, place->name, strlen(place->name));
    if (there)
        tree_remove(apply->tree, there);
    return tree_add(apply->tree, place->parent, place->name, strlen(place->name), file,
                    apply->number, NULL, error);
}

static void give_up(LayerApply *apply, TreeFile *file) {
    if (apply->ext4)
        ext4_release(apply->ext4, file);
    tree_file_free(file);
}

static int make_new(LayerApply *apply, TarReader *reader, const TreePlace *place,
                    struct archive_entry *entry, Error *error) {
    TreeFile *file = tree_file_new(0);
    int r = read_meta(apply, file, entry, error);
    if (r >= 0)
        r = fill_by_type(apply, reader, file, entry, error);
    if (r >= 0)
        r = put(apply, place, file, error);
    if (r < 0)
        give_up(apply, file);
    return r;
}

static int make_hard_link(LayerApply *apply, const TreePlace *place, const char *target,
                          Error *error) {
    _cleanup_free_ char *clean = NULL;
    TreeNode *node = NULL;
    TreeFile *file;
    int r = tree_clean_path(target, &clean, error);
    if (r >= 0)
        r = tree_find(apply->tree, clean, &node, error);
    if (r < 0)
        return error_add_context(error, "hard link to %s", target);
    if (r == 0 || tree_is_folder(node))
        return refuse(error, "a hard link to what is no file that is there");
    if (node->parent == place->parent && str_equal(node->name, place->name))
        return 0;
    file = node->file;
    file->references++; /* it may lie below what it replaces */
    r = put(apply, place, file, error);
    file->references--;
    return r;
}

/* A folder where one is already only changes it. */
static int make_entry(LayerApply *apply, TarReader *reader, const char *path,
                      struct archive_entry *entry, Error *error) {
    bool folder = archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry);
    TreePlace place;
    TreeNode *there;
    int r;
    if (!*path)
        return folder ? read_meta(apply, apply->tree->root->file, entry, error)
                      : refuse(error, "the root is no folder");
    r = tree_find_place(apply->tree, path, apply->number, true, archive_entry_mtime(entry), &place,
                        error);
    if (r < 0)
        return r;
    if (archive_entry_hardlink(entry))
        return make_hard_link(apply, &place, archive_entry_hardlink(entry), error);
    there = tree_child(apply->tree, place.parent, place.name, strlen(place.name));
    if (!folder || !there || !tree_is_folder(there))
        return make_new(apply, reader, &place, entry, error);
    there->layer = (uint16_t)apply->number;
    return read_meta(apply, there->file, entry, error);
}

static int apply_entry(LayerApply *apply, TarReader *reader, struct archive_entry *entry,
                       Error *error) {
    _cleanup_free_ char *path = NULL;
    const char *base;
    int r;
    if (++apply->entries > apply->max_entries)
        return error_set(error, ERROR_CORRUPT, E2BIG, "more than %llu entries",
                         (unsigned long long)apply->max_entries);
    r = tree_clean_path(archive_entry_pathname(entry), &path, error);
    if (r < 0)
        return r;
    base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (str_equal(base, OPAQUE))
        return apply_opaque(apply, path, error);
    if (str_has_prefix(base, OTHER_MARKS))
        return 0;
    if (str_has_prefix(base, WHITEOUT))
        return apply_whiteout(apply, path, base + strlen(WHITEOUT), error);
    return make_entry(apply, reader, path, entry, error);
}

int layer_apply(LayerApply *apply, TarReader *reader, Error *error) {
    struct archive_entry *entry;
    int r;
    while ((r = tar_reader_next(reader, &entry, error)) > 0) {
        r = apply_entry(apply, reader, entry, error);
        if (r < 0) {
            const char *said = archive_entry_pathname(entry);
            _cleanup_free_ char *shown =
                str_sanitize(str_or_empty(said), said ? strnlen(said, 200) : 0);
            return error_add_context(error, "entry %s", shown);
        }
    }
    return r;
}
