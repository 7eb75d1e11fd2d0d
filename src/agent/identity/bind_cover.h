/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_BIND_COVER_H
#define RAMET_AGENT_IDENTITY_BIND_COVER_H

#include "agent/base/util.h"

#define BIND_COVER_MAX 512

/* A file of the guest that is this guest's own, such as its hostname: a bind mount of
 * RUN_FOLDER/name covers it, so that the disk is not written to. The texts are short. */
typedef struct BindCover {
    const char *path; /* what is covered */
    const char *name;
    mode_t mode;
    bool create; /* a missing file is made (empty) to mount on; else it stays missing */

    /* where it is now */
    int fd;    /* owned, of RUN_FOLDER/name; -1 while it does not cover */
    char *map; /* its only page */
    size_t size;
} BindCover;

/* Covers the file, or changes the text of what covers it. 0 or a negative errno. */
int bind_cover_set(BindCover *file, const char *text);

/* Covers the file with the text that it has now, unless it is covered, and has the cover at hand,
 * so that the next change needs no look-up. */
void bind_cover_prepare(BindCover *file);

/* Shows the file `from` in the place of `path`, where there is one. 0 or a negative errno. */
int bind_cover_mount(const char *from, const char *path);

#endif
