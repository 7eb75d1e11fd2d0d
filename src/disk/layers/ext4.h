/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_EXT4_H
#define RAMET_DISK_LAYERS_EXT4_H

/* A new ext4 disk that is filled file by file, by libext2fs: content goes to its blocks as it
 * comes, inodes and folders follow at the end. Nothing is made on the host's own file system but
 * the disk, so no root is needed for owners, devices and attributes. */

#include "disk/layers/tree.h"

typedef struct Ext4 Ext4; /* opaque; belongs to one thread */

/* Opens what mke2fs made at `path` (rootfs_make_empty) and takes its lost+found away. `epoch_sec`
 * is written as the time of all this. */
int ext4_open(const char *path, uint64_t epoch_sec, Ext4 **ext4, Error *error);

/* Blocks for all of file->size. ERROR_NO_SPACE when the disk has too few; see ext4_is_full. */
int ext4_allocate(Ext4 *ext4, TreeFile *file, Error *error);

/* A piece of an allocated file's content. Zeroes stay holes on the host. */
int ext4_write(Ext4 *ext4, const TreeFile *file, const void *data, size_t size, uint64_t offset,
               Error *error);

/* Gives a file's blocks back, and their room on the host. */
void ext4_release(Ext4 *ext4, TreeFile *file);

/* Writes inodes and folders of the whole tree, and closes the disk. */
int ext4_finish(Ext4 *ext4, Tree *tree, Error *error);

/* Was ERROR_NO_SPACE for want of blocks or inodes of the disk, not of the host's? A larger disk
 * helps. */
bool ext4_is_full(const Ext4 *ext4);

/* Without finish what is there is no file system yet. NULL is fine. */
void ext4_free(Ext4 *ext4);
DEFINE_CLEANUP(Ext4 *, ext4_free);

#endif
