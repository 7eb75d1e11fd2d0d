/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_DIRECT_DISK_KERNEL_H
#define RAMET_IMAGE_DIRECT_DISK_KERNEL_H

/* The kernel that a whole disk brings, as a bundle: so that microvm, which has no firmware, boots
 * the disk by its own kernel and modules all the same. */

#include "image/kernel_bundle.h"

/* Takes the newest /boot/vmlinuz-VERSION of the disk's ext4 partitions (or of a disk that is an
 * ext4 itself), and of its modules those that a guest needs before its root is mounted.
 * ERROR_UNSUPPORTED: it has none that microvm can boot; the message has the reason. */
int disk_kernel_ensure(const ImageContext *context, const char *disk, KernelBundle *bundle,
                       Error *error);

/* The newest valid VERSION of "vmlinuz-VERSION" in what debugfs' "ls -p" said of a folder, the
 * caller's; NULL: none. */
char *disk_kernel_choose(const char *listing);

#endif
