/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_DISK_DISKS_H
#define RAMET_AGENT_DISK_DISKS_H

#include "agent/base/result.h"
#include "agent/base/util.h"

/* Mounts the disks beside the root that the kernel's command line names, each where it says, and
 * lets them grow to their size, before anybody else runs. 0, or a negative errno and the result
 * says why not. */
int disks_mount(int uevent_fd, uint64_t deadline_usec, Result *result);

/* Mounts the one that a word's value names, in a guest that runs. */
int disks_mount_word(const char *value, Result *result);

/* A clone's disk is another one than the memory that it comes from knows: mounts it in the place of
 * that. value: as a word has it. 0, or a negative errno and the result. */
int disks_change(const char *value, Result *result);

/* One word's value, "SERIAL,rw|ro,PATH" with %XX in the path, to its parts. -EINVAL. */
typedef struct DiskWord {
    char serial[32];
    bool read_only;
    char path[256];
} DiskWord;
int disk_word_parse(const char *value, DiskWord *word);

#endif
