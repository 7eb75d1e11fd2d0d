/* SPDX-License-Identifier: Apache-2.0 */

/* Inodes as in the kernel's Documentation/filesystems/ext4/inodes.rst, "The contents of i_block"
 * (ifork.rst) and attributes.rst. Up to four extents fit into the inode; a file with more gets a
 * tree of them by libext2fs. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "disk/layers/ext4_parts.h"

#define EXTENT_BLOCKS_MAX 32768u
#define INLINE_EXTENTS 4
#define LINKS_MAX 65000u /* EXT4_LINK_MAX */
#define TIME_MIN (-((int64_t)1 << 31))
#define TIME_MAX (((int64_t)1 << 34) - ((int64_t)1 << 31) - 1)

int ext4_error(Ext4 *ext4, errcode_t code, const char *what, Error *error) {
    if (code == EXT2_ET_BLOCK_ALLOC_FAIL || code == EXT2_ET_INODE_ALLOC_FAIL) {
        ext4->full = true;
        error_set(error, ERROR_NO_SPACE, ENOSPC, "the content does not fit into the file system");
        error_set_hint(error, "ask for a larger size");
        return -ENOSPC;
    }
    if (code > 0 && code < 4096)
        return error_set_errno(error, (int)code, "%s", what);
    return error_set(error, ERROR_FAILED, EIO, "%s: error %ld of libext2fs", what, (long)code);
}

static void add_extent(TreeFile *file, uint64_t physical, uint32_t length) {
    TreeExtent *last = file->n_extents ? &file->extents[file->n_extents - 1] : NULL;
    if (last && last->physical + last->length == physical &&
        last->length + length <= EXTENT_BLOCKS_MAX) {
        last->length += length;
        return;
    }
    uint32_t logical = last ? last->logical + last->length : 0;
    file->extents = reallocarray(file->extents, file->n_extents + 1, sizeof(*file->extents));
    if (!file->extents)
        abort();
    file->extents[file->n_extents++] = (TreeExtent){physical, logical, length};
}

int ext4_add_blocks(Ext4 *ext4, TreeFile *file, uint64_t count, Error *error) {
    while (count > 0) {
        blk64_t block, length = MIN_OF(count, (uint64_t)EXTENT_BLOCKS_MAX);
        errcode_t code = ext2fs_new_range(ext4->fs, 0, ext4->goal, length, NULL, &block, &length);
        if (code != 0)
            return ext4_error(ext4, code, "cannot take blocks", error);
        ext2fs_block_alloc_stats_range(ext4->fs, block, length, 1);
        add_extent(file, block, (uint32_t)length);
        ext4->goal = block + length;
        count -= length;
    }
    return 0;
}

int ext4_number(Ext4 *ext4, const TreeNode *node, Error *error) {
    ext2_ino_t number, near = node->parent->file->number;
    bool folder = tree_is_folder(node);
    errcode_t code = ext2fs_new_inode(ext4->fs, near, (int)node->file->mode, NULL, &number);
    if (code != 0)
        return ext4_error(ext4, code, "cannot take an inode", error);
    ext2fs_inode_alloc_stats2(ext4->fs, number, 1, folder);
    node->file->number = number;
    return 0;
}

/* Two bits of seconds after 2038 and 30 of nanoseconds (inodes.rst, "Inode Timestamps"). */
static void set_times(struct ext2_inode_large *inode, const TreeFile *file) {
    int64_t seconds = MIN_OF(MAX_OF(file->changed_sec, TIME_MIN), TIME_MAX);
    uint64_t above = (uint64_t)seconds - (uint64_t)(int64_t)(int32_t)seconds;
    uint32_t extra = file->changed_nsec << 2 | (uint32_t)(above >> 32 & 3);
    inode->i_atime = inode->i_ctime = inode->i_mtime = inode->i_crtime = (uint32_t)seconds;
    inode->i_atime_extra = inode->i_ctime_extra = inode->i_mtime_extra = extra;
    inode->i_crtime_extra = extra;
}

/* The library turns i_block into little-endian. */
static void set_device(struct ext2_inode_large *inode, dev_t device) {
    unsigned high = major(device), low = minor(device);
    if (high < 256 && low < 256)
        inode->i_block[0] = high << 8 | low;
    else
        inode->i_block[1] = (low & 0xff) | high << 8 | (low & ~0xffu) << 12;
}

static void set_inline_extents(struct ext2_inode_large *inode, const TreeFile *file) {
    struct ext3_extent_header *header = (struct ext3_extent_header *)inode->i_block;
    struct ext3_extent *extent = (struct ext3_extent *)(header + 1);
    header->eh_magic = ext2fs_cpu_to_le16(EXT3_EXT_MAGIC);
    header->eh_max = ext2fs_cpu_to_le16(INLINE_EXTENTS);
    header->eh_entries = ext2fs_cpu_to_le16((uint16_t)file->n_extents);
    for (size_t i = 0; i < file->n_extents; i++) {
        extent[i].ee_block = ext2fs_cpu_to_le32(file->extents[i].logical);
        extent[i].ee_len = ext2fs_cpu_to_le16((uint16_t)file->extents[i].length);
        extent[i].ee_start = ext2fs_cpu_to_le32((uint32_t)file->extents[i].physical);
        extent[i].ee_start_hi = ext2fs_cpu_to_le16((uint16_t)(file->extents[i].physical >> 32));
    }
}

/* Adds the blocks of the tree itself to the inode's count. */
static errcode_t add_extent_tree(ext2_filsys fs, struct ext2_inode_large *inode,
                                 const TreeFile *file) {
    ext2_extent_handle_t handle;
    errcode_t code = ext2fs_extent_open2(fs, file->number, (struct ext2_inode *)inode, &handle);
    if (code != 0)
        return code;
    for (size_t i = 0; i < file->n_extents && code == 0; i++) {
        struct ext2fs_extent extent = {.e_pblk = file->extents[i].physical,
                                       .e_lblk = file->extents[i].logical,
                                       .e_len = file->extents[i].length};
        code = ext2fs_extent_insert(handle, i > 0 ? EXT2_EXTENT_INSERT_AFTER : 0, &extent);
    }
    if (code == 0)
        code = ext2fs_extent_fix_parents(handle);
    ext2fs_extent_free(handle);
    return code;
}

static errcode_t set_content(ext2_filsys fs, struct ext2_inode_large *inode, const TreeFile *file) {
    uint64_t blocks = 0;
    for (size_t i = 0; i < file->n_extents; i++)
        blocks += file->extents[i].length;
    (void)ext2fs_iblk_set(fs, (struct ext2_inode *)inode, blocks);
    inode->i_flags |= EXT4_EXTENTS_FL;
    if (file->n_extents > INLINE_EXTENTS)
        return add_extent_tree(fs, inode, file);
    set_inline_extents(inode, file);
    return 0;
}

static errcode_t set_by_type(ext2_filsys fs, struct ext2_inode_large *inode, const TreeFile *file) {
    size_t length;
    switch (file->mode & S_IFMT) {
    case S_IFCHR:
    case S_IFBLK:
        set_device(inode, file->device);
        return 0;
    case S_IFIFO:
    case S_IFSOCK:
        return 0;
    case S_IFLNK:
        length = strlen(file->target);
        if (length < sizeof(inode->i_block)) {
            memcpy(inode->i_block, file->target, length);
            return 0;
        }
        return set_content(fs, inode, file);
    default:
        return set_content(fs, inode, file);
    }
}

static int write_attributes(Ext4 *ext4, const TreeFile *file, Error *error) {
    struct ext2_xattr_handle *handle;
    errcode_t code = ext2fs_xattrs_open(ext4->fs, file->number, &handle);
    if (code == 0) {
        for (const TreeAttribute *attribute = file->attributes; attribute && code == 0;
             attribute = attribute->next)
            code = ext2fs_xattr_set(handle, attribute->key, attribute->value, attribute->size);
        if (code == 0)
            code = ext2fs_xattrs_write(handle);
        (void)ext2fs_xattrs_close(&handle);
    }
    if (code == EXT2_ET_EA_NO_SPACE)
        return error_set(error, ERROR_CORRUPT, E2BIG,
                         "the extended attributes of a file are longer than ext4 takes");
    return code == 0 ? 0 : ext4_error(ext4, code, "cannot write extended attributes", error);
}

int ext4_write_inode(Ext4 *ext4, const TreeFile *file, uint32_t links, uint64_t size,
                     Error *error) {
    struct ext2_inode_large inode = {0};
    bool folder = (file->mode & S_IFMT) == S_IFDIR;
    errcode_t code;
    if (links > LINKS_MAX && !folder)
        return error_set(error, ERROR_CORRUPT, EMLINK, "a file with more than %u names", LINKS_MAX);
    inode.i_mode = (uint16_t)file->mode;
    inode.i_uid = (uint16_t)file->uid;
    inode.osd2.linux2.l_i_uid_high = (uint16_t)(file->uid >> 16);
    inode.i_gid = (uint16_t)file->gid;
    inode.osd2.linux2.l_i_gid_high = (uint16_t)(file->gid >> 16);
    inode.i_links_count = (uint16_t)(links > LINKS_MAX ? 1 : links); /* dir_nlink: 1, uncounted */
    inode.i_extra_isize = sizeof(inode) - EXT2_GOOD_OLD_INODE_SIZE;
    if (S_ISLNK(file->mode))
        size = strlen(file->target);
    inode.i_size = (uint32_t)size;
    inode.i_size_high = (uint32_t)(size >> 32);
    set_times(&inode, file);
    code = set_by_type(ext4->fs, &inode, file);
    if (code == 0)
        code = ext2fs_write_inode_full(ext4->fs, file->number, (struct ext2_inode *)&inode,
                                       sizeof(inode));
    if (code != 0)
        return ext4_error(ext4, code, "cannot write an inode", error);
    return file->attributes ? write_attributes(ext4, file, error) : 0;
}
