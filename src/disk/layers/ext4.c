/* SPDX-License-Identifier: Apache-2.0 */

/* Blocks are taken from the front to the back, so content lies on the disk as it came and most
 * files are one extent. Blocks that were given back are punched out of the disk's file: they read
 * as zeroes when they are taken again, and nothing of a file that a later layer removed is in the
 * image. */

#include "disk/layers/ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/layers/ext4_parts.h"
#include "disk/sparse.h"

#define LOST_AND_FOUND 11

/* What mke2fs put there; all of it comes again with the tree. */
static errcode_t drop_folder(ext2_filsys fs, ext2_ino_t number) {
    struct ext2_inode inode;
    errcode_t code = ext2fs_read_inode(fs, number, &inode);
    if (code == 0)
        code = ext2fs_punch(fs, number, &inode, NULL, 0, ~0ULL);
    return code;
}

static int open_disk(Ext4 *ext4, const char *path, uint64_t epoch_sec, Error *error) {
    errcode_t code;
    ext4->fd = open(path, O_RDWR | O_CLOEXEC);
    if (ext4->fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    code = ext2fs_open(path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &ext4->fs);
    if (code != 0)
        return ext4_error(ext4, code, "cannot open the new file system", error);
    ext4->fs->now = (time_t)epoch_sec;
    code = ext2fs_read_bitmaps(ext4->fs);
    if (code == 0)
        code = drop_folder(ext4->fs, EXT2_ROOT_INO);
    if (code == 0)
        code = drop_folder(ext4->fs, LOST_AND_FOUND);
    if (code != 0)
        return ext4_error(ext4, code, "cannot read the new file system", error);
    ext2fs_inode_alloc_stats2(ext4->fs, LOST_AND_FOUND, -1, 1);
    ext4->goal = ext4->fs->super->s_first_data_block;
    return ext4->fs->blocksize == BLOCK_BYTES
               ? 0
               : error_set(error, ERROR_FAILED, EIO, "mke2fs chose another size of blocks");
}

int ext4_open(const char *path, uint64_t epoch_sec, Ext4 **ext4, Error *error) {
    _cleanup_(ext4_free_p) Ext4 *made = calloc(1, sizeof(*made));
    int r;
    if (!made)
        abort();
    made->fd = -1;
    r = open_disk(made, path, epoch_sec, error);
    if (r >= 0)
        *ext4 = TAKE_PTR(made);
    return r;
}

int ext4_allocate(Ext4 *ext4, TreeFile *file, Error *error) {
    uint64_t blocks = (file->size + BLOCK_BYTES - 1) / BLOCK_BYTES;
    if (blocks > UINT32_MAX || blocks > ext2fs_free_blocks_count(ext4->fs->super))
        return ext4_error(ext4, EXT2_ET_BLOCK_ALLOC_FAIL, "cannot take blocks", error);
    return ext4_add_blocks(ext4, file, blocks, error);
}

/* Extents are in the order of the file; most files have one. */
static const TreeExtent *find_extent(const TreeFile *file, uint64_t block) {
    size_t low = 0, high = file->n_extents;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const TreeExtent *extent = &file->extents[middle];
        if (block < extent->logical)
            high = middle;
        else if (block >= (uint64_t)extent->logical + extent->length)
            low = middle + 1;
        else
            return extent;
    }
    return NULL;
}

int ext4_write(Ext4 *ext4, const TreeFile *file, const void *data, size_t size, uint64_t offset,
               Error *error) {
    const uint8_t *bytes = data;
    while (size > 0) {
        const TreeExtent *extent = find_extent(file, offset / BLOCK_BYTES);
        uint64_t within, at;
        size_t piece;
        int r;
        if (!extent)
            return error_set(error, ERROR_CORRUPT, EBADMSG, "data behind the end of the file");
        within = offset - (uint64_t)extent->logical * BLOCK_BYTES;
        at = extent->physical * BLOCK_BYTES + within;
        piece = (size_t)MIN_OF((uint64_t)extent->length * BLOCK_BYTES - within, (uint64_t)size);
        r = sparse_write(ext4->fd, bytes, piece, at, NULL);
        if (r < 0)
            return error_set_errno(error, -r, "cannot write");
        bytes += piece;
        offset += piece;
        size -= piece;
    }
    return 0;
}

void ext4_release(Ext4 *ext4, TreeFile *file) {
    for (size_t i = 0; i < file->n_extents; i++) {
        const TreeExtent *extent = &file->extents[i];
        ext2fs_block_alloc_stats_range(ext4->fs, extent->physical, extent->length, -1);
        if (fallocate(ext4->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)(extent->physical * BLOCK_BYTES),
                      (off_t)extent->length * BLOCK_BYTES) < 0)
            ext4->goal = MAX_OF(ext4->goal, extent->physical + extent->length);
    }
    file->n_extents = 0;
}

/* Numbers first, in the order of the tree, so that what is near each other lies near. */
static int number_all(Ext4 *ext4, const Tree *tree, Error *error) {
    int r = 0;
    tree->root->file->number = EXT2_ROOT_INO;
    for (const TreeNode *node = tree_next(tree->root); node && r >= 0; node = tree_next(node))
        if (node->file->number == 0)
            r = ext4_number(ext4, node, error);
    return r;
}

/* A file with several names is written at the first of them: the flag goes up with it. */
static int write_file(Ext4 *ext4, TreeFile *file, bool *written, Error *error) {
    if (written[file->number])
        return 0;
    written[file->number] = true;
    return ext4_write_inode(ext4, file, file->references, file->size, error);
}

static int write_all(Ext4 *ext4, Tree *tree, Error *error) {
    _cleanup_free_ bool *written =
        calloc((size_t)ext4->fs->super->s_inodes_count + 1, sizeof(*written));
    int r = 0;
    if (!written)
        abort();
    for (TreeNode *node = tree->root; node && r >= 0; node = tree_next(node)) {
        r = tree_is_folder(node) ? ext4_write_folder(ext4, node, error)
                                 : write_file(ext4, node->file, written, error);
        if (r < 0)
            return error_add_context(error, "writing the file system");
    }
    return r;
}

int ext4_finish(Ext4 *ext4, Tree *tree, Error *error) {
    errcode_t code;
    int r = number_all(ext4, tree, error);
    if (r >= 0)
        r = write_all(ext4, tree, error);
    if (r < 0)
        return r;
    code = ext2fs_close_free(&ext4->fs);
    return code == 0 ? 0 : ext4_error(ext4, code, "cannot write the file system", error);
}

bool ext4_is_full(const Ext4 *ext4) {
    return ext4->full;
}

void ext4_free(Ext4 *ext4) {
    if (!ext4)
        return;
    if (ext4->fs)
        ext2fs_free(ext4->fs); /* what is only in memory is not written */
    (void)fd_close(ext4->fd);
    free(ext4);
}
