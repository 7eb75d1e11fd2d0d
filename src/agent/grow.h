/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_GROW_H
#define RAMET_AGENT_GROW_H

#include "agent/util.h"

/* Whether the file system at `path` is smaller than its disk; true also when that cannot be told.
 * For ext4 it takes a look at the superblock, while growing by nothing takes the kernel 130 ms
 * under emulation, and a worker to do it 30 ms more. */
bool grow_is_needed(const char *path);

/* Grows the file system mounted at `path` (or that `path` is on) to the size of its device, while
 * it is in use. Nothing happens when it has that size already. A worker: data is the path. */
void grow_worker(void *path, int in, int out, Result *result);
int grow_file_system(const char *path, Result *result);

#endif
