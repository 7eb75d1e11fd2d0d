/* SPDX-License-Identifier: Apache-2.0 */

#include "disk/rootfs/seed_tidy.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define LOST_FOUND "lost+found"

/* ---- lost+found ---- */

static errcode_t release_folder(ext2_filsys fs, ext2_ino_t number) {
    struct ext2_inode inode;
    errcode_t code = ext2fs_read_inode(fs, number, &inode);
    if (code == 0)
        code = ext2fs_punch(fs, number, &inode, NULL, 0, ~0ULL);
    if (code == 0) {
        memset(&inode, 0, sizeof(inode));
        code = ext2fs_write_new_inode(fs, number, &inode);
    }
    if (code == 0)
        ext2fs_inode_alloc_stats2(fs, number, -1, 1);
    return code;
}

static errcode_t unlink_from_top(ext2_filsys fs, ext2_ino_t number) {
    struct ext2_inode top;
    errcode_t code = ext2fs_unlink(fs, EXT2_ROOT_INO, LOST_FOUND, number, 0);
    if (code == 0)
        code = ext2fs_read_inode(fs, EXT2_ROOT_INO, &top);
    if (code != 0)
        return code;
    top.i_links_count--;
    return ext2fs_write_inode(fs, EXT2_ROOT_INO, &top);
}

errcode_t seed_drop_lost_found(ext2_filsys fs) {
    ext2_ino_t number;
    errcode_t code =
        ext2fs_lookup(fs, EXT2_ROOT_INO, LOST_FOUND, strlen(LOST_FOUND), NULL, &number);
    if (code == EXT2_ET_FILE_NOT_FOUND)
        return 0;
    if (code == 0)
        code = unlink_from_top(fs, number);
    return code == 0 ? release_folder(fs, number) : code;
}

/* ---- attributes ---- */

typedef struct Attribute {
    char *name; /* owned */
    void *value;
    size_t size;
} Attribute;

typedef struct Attributes {
    Attribute *all; /* owned */
    size_t n;
} Attributes;

static void attributes_free(Attributes *attributes) {
    for (size_t i = 0; i < attributes->n; i++) {
        free(attributes->all[i].name);
        free(attributes->all[i].value);
    }
    free(attributes->all);
}

static int collect(char *name, char *value, size_t size, void *data) {
    Attributes *attributes = data;
    Attribute *more = realloc(attributes->all, (attributes->n + 1) * sizeof(*more));
    void *copy = malloc(size + 1);
    if (!more || !copy)
        abort();
    memcpy(copy, value, size);
    attributes->all = more;
    attributes->all[attributes->n++] = (Attribute){str_copy(name), copy, size};
    return 0;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const Attribute *)a)->name, ((const Attribute *)b)->name);
}

static errcode_t put_sorted(struct ext2_xattr_handle *handle, Attributes *attributes) {
    errcode_t code = 0;
    qsort(attributes->all, attributes->n, sizeof(*attributes->all), compare);
    for (size_t i = 0; code == 0 && i < attributes->n; i++)
        code = ext2fs_xattr_remove(handle, attributes->all[i].name);
    for (size_t i = 0; code == 0 && i < attributes->n; i++)
        code = ext2fs_xattr_set(handle, attributes->all[i].name, attributes->all[i].value,
                                attributes->all[i].size);
    return code;
}

errcode_t seed_sort_attributes(ext2_filsys fs, ext2_ino_t number) {
    _cleanup_(attributes_free) Attributes attributes = {0};
    struct ext2_xattr_handle *handle;
    unsigned raw = XATTR_HANDLE_FLAG_RAW;
    errcode_t code = ext2fs_xattrs_open(fs, number, &handle);
    if (code != 0)
        return code;
    code = ext2fs_xattrs_flags(handle, &raw, NULL);
    if (code == 0)
        code = ext2fs_xattrs_read(handle);
    if (code == 0)
        code = ext2fs_xattrs_iterate(handle, collect, &attributes);
    if (code == 0 && attributes.n > 1)
        code = put_sorted(handle, &attributes);
    (void)ext2fs_xattrs_close(&handle);
    return code;
}
