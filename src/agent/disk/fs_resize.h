/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_DISK_FS_RESIZE_H
#define RAMET_AGENT_DISK_FS_RESIZE_H

#include "agent/base/util.h"

/* Whether the file system at `path` is smaller than its disk; true also when that cannot be told.
 * For ext4 it takes a look at the superblock, while growing by nothing takes the kernel 130 ms
 * under emulation, and a worker to do it 30 ms more. */
bool fs_resize_is_needed(const char *path);

/* Grows the file system mounted at `path` (or that `path` is on) to the size of its device, while
 * it is in use; before that the device, when that is the last partition of its disk. One that
 * cannot grow is a note in the result. Nothing happens when it has that size already. A worker:
 * data is the path. */
void fs_resize_worker(void *path, int in, int out, Result *result);
int fs_resize(const char *path, Result *result);

#endif
