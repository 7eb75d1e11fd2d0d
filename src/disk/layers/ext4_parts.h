/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_EXT4_PARTS_H
#define RAMET_DISK_LAYERS_EXT4_PARTS_H

/* Within this folder: what ext4.c, ext4_inode.c and ext4_folder.c share. */

/* libcom_err, whose header comes with it, has a function of that name, which nothing here calls. */
#define error_message com_err_message
#include <ext2fs/ext2fs.h>
#include <ext2fs/ext3_extents.h>
#undef error_message

#include "disk/layers/tree.h"

typedef struct Ext4 Ext4; /* as in ext4.h, which its own files include, too */

#define BLOCK_BYTES 4096u

struct Ext4 {
    ext2_filsys fs; /* owned */
    int fd;         /* owned: content goes past libext2fs */
    blk64_t goal;   /* where the next content begins */
    bool full;
};

/* An error of libext2fs; a full disk is remembered. */
int ext4_error(Ext4 *ext4, errcode_t code, const char *what, Error *error);

/* Takes `count` blocks more for the end of the file. */
int ext4_add_blocks(Ext4 *ext4, TreeFile *file, uint64_t count, Error *error);

/* Draws an inode for the node's file. */
int ext4_number(Ext4 *ext4, const TreeNode *node, Error *error);

/* Writes the inode, whose blocks are known. `links` counts names, of a folder also those of what is
 * below; `size` is a folder's. */
int ext4_write_inode(Ext4 *ext4, const TreeFile *file, uint32_t links, uint64_t size, Error *error);

/* Writes a folder's entries, all of which have numbers, to new blocks, and its inode. */
int ext4_write_folder(Ext4 *ext4, const TreeNode *node, Error *error);

#endif
