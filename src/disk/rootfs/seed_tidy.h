/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_ROOTFS_SEED_TIDY_H
#define RAMET_DISK_ROOTFS_SEED_TIDY_H

/* What mke2fs leaves in a file system that is neither in the folder it copied nor the same for
 * equal folders. The file system's bitmaps are read. */

/* libcom_err has one of that name, which nothing here calls */
#define error_message com_err_message
#include <ext2fs/ext2fs.h>
#undef error_message

/* Takes the folder lost+found away, which e2fsck makes anew when it needs one. */
errcode_t seed_drop_lost_found(ext2_filsys fs);

/* Brings the extended attributes of the inode, if it has several, into the order of their names:
 * mke2fs has them in the order that the host's file system lists them in. */
errcode_t seed_sort_attributes(ext2_filsys fs, ext2_ino_t number);

#endif
