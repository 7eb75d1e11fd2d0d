/* SPDX-License-Identifier: Apache-2.0 */

/* Folders as in the kernel's Documentation/filesystems/ext4/directory.rst, "Linear Directories":
 * entries one after the other, none over the end of a block; the last of a block reaches up to its
 * end, or to the checksum in its last 12 bytes. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "disk/layers/ext4_parts.h"

typedef struct FolderWriter {
    Ext4 *ext4;
    TreeFile *file;
    size_t room; /* of a block, for entries */
    size_t used; /* of the block at hand */
    size_t last; /* where its last entry begins */
    uint64_t blocks;
    char block[BLOCK_BYTES];
} FolderWriter;

static uint8_t type_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return EXT2_FT_REG_FILE;
    case S_IFDIR:
        return EXT2_FT_DIR;
    case S_IFCHR:
        return EXT2_FT_CHRDEV;
    case S_IFBLK:
        return EXT2_FT_BLKDEV;
    case S_IFIFO:
        return EXT2_FT_FIFO;
    case S_IFSOCK:
        return EXT2_FT_SOCK;
    case S_IFLNK:
        return EXT2_FT_SYMLINK;
    default:
        return EXT2_FT_UNKNOWN;
    }
}

static struct ext2_dir_entry *entry_at(FolderWriter *writer, size_t offset) {
    return (struct ext2_dir_entry *)(void *)(writer->block + offset);
}

static int end_block(FolderWriter *writer, Error *error) {
    Ext4 *ext4 = writer->ext4;
    const TreeExtent *extent;
    errcode_t code;
    int r;
    (void)ext2fs_set_rec_len(ext4->fs, (unsigned)(writer->room - writer->last),
                             entry_at(writer, writer->last));
    if (writer->room < BLOCK_BYTES)
        ext2fs_initialize_dirent_tail(ext4->fs, EXT2_DIRENT_TAIL(writer->block, BLOCK_BYTES));
    r = ext4_add_blocks(ext4, writer->file, 1, error);
    if (r < 0)
        return r;
    extent = &writer->file->extents[writer->file->n_extents - 1];
    code = ext2fs_write_dir_block4(ext4->fs, extent->physical + extent->length - 1, writer->block,
                                   0, writer->file->number);
    writer->blocks++;
    writer->used = writer->last = 0;
    memset(writer->block, 0, sizeof(writer->block));
    return code == 0 ? 0 : ext4_error(ext4, code, "cannot write a folder", error);
}

static int add_entry(FolderWriter *writer, const char *name, const TreeFile *file, Error *error) {
    size_t length = strlen(name), need = EXT2_DIR_REC_LEN(length);
    struct ext2_dir_entry *entry;
    int r = writer->used + need > writer->room ? end_block(writer, error) : 0;
    if (r < 0)
        return r;
    entry = entry_at(writer, writer->used);
    entry->inode = file->number;
    ext2fs_dirent_set_name_len(entry, (int)length);
    ext2fs_dirent_set_file_type(entry, type_of(file->mode));
    (void)ext2fs_set_rec_len(writer->ext4->fs, (unsigned)need, entry);
    memcpy(entry->name, name, length);
    writer->last = writer->used;
    writer->used += need;
    return 0;
}

int ext4_write_folder(Ext4 *ext4, const TreeNode *node, Error *error) {
    FolderWriter writer = {.ext4 = ext4, .file = node->file, .room = BLOCK_BYTES};
    uint32_t links = 2;
    int r;
    if (ext2fs_has_feature_metadata_csum(ext4->fs->super))
        writer.room -= sizeof(struct ext2_dir_entry_tail);
    r = add_entry(&writer, ".", node->file, error);
    if (r >= 0)
        r = add_entry(&writer, "..", node->parent ? node->parent->file : node->file, error);
    for (const TreeNode *child = node->first; child && r >= 0; child = child->next) {
        r = add_entry(&writer, child->name, child->file, error);
        links += tree_is_folder(child);
    }
    if (r >= 0)
        r = end_block(&writer, error);
    return r < 0 ? r
                 : ext4_write_inode(ext4, node->file, links, writer.blocks * BLOCK_BYTES, error);
}
