/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_HARD_LINKS_H
#define RAMET_AGENT_FILES_HARD_LINKS_H

#include <stddef.h>
#include <sys/stat.h>

/* Which files of an archive are there already under another name: a hash table by inode. */
typedef struct HardLinks {
    struct HardLink *table; /* owned */
    size_t room, used;
} HardLinks;

/* The name under which the file was added before, or NULL: then it is added under this one, where
 * there is memory for that. */
const char *hard_links_add(HardLinks *links, const struct stat *file, const char *name);
void hard_links_free(HardLinks *links);

#endif
