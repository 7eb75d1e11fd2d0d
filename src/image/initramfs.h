/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_INITRAMFS_H
#define RAMET_IMAGE_INITRAMFS_H

/* The initramfs: a newc cpio (kernel's Documentation/driver-api/early-userspace/buffer-format.rst),
 * reproducible, uncompressed:
 *
 *     /init                the agent, 0755
 *     /modules/order       names of the files beside it, one a line, in the order to load them
 *     /modules/NAME.ko
 *                          of a kernel's own packages, those for its root disk; more_file_systems:
 *                          also for what config disks have, ISO 9660 and FAT, where the kernel does
 *     /dev /proc /sys /root /run   empty folders
 *     /dev/console         c 5 1
 *
 * It is kept as HOME/initramfs/KEY.cpio, KEY being the SHA-256 of the kernel bundle's key, the
 * agent's SHA-256, whether it has more, and the format's version, so that a new agent or kernel
 * gets an archive of its own. */

#include "image/kernel.h"

/* Finds or makes the archive of this kernel and this agent. *path and *key are the caller's.
 * Errors: ERROR_NOT_FOUND (no agent), ERROR_NO_SPACE, ERROR_CANCELLED. */
int initramfs_ensure(const ImageContext *context, const KernelBundle *bundle,
                     const char *agent_path, bool more_file_systems, char **path, char **key,
                     Error *error);

#endif
