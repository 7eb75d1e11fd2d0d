/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BASE_MOUNTS_H
#define RAMET_AGENT_BASE_MOUNTS_H

#include "agent/base/util.h"

typedef struct Mount {
    char source[256];
    char folder[1024];
    char type[64];
    unsigned major, minor; /* of the file system, as in /proc/self/mountinfo */
    bool read_only;
    bool on_disk; /* a block device is behind it */
} Mount;

typedef struct Mounts {
    Mount *list; /* owned */
    size_t n;
} Mounts;

/* What is mounted now, in order. 0 or a negative errno. */
int mounts_read(Mounts *mounts);
void mounts_free(Mounts *mounts);

#endif
