/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/hard_links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct HardLink {
    dev_t device;
    ino_t inode;
    char *name; /* owned: where it is in the archive */
} HardLink;

static HardLink *find_slot(HardLink *table, size_t room, dev_t device, ino_t inode) {
    size_t i = (size_t)((inode * 0x9e3779b97f4a7c15ull) >> 20) & (room - 1);
    while (table[i].name && (table[i].device != device || table[i].inode != inode))
        i = (i + 1) & (room - 1);
    return &table[i];
}

static int enlarge(HardLinks *links) {
    size_t room = links->room ? 2 * links->room : 64;
    HardLink *table = calloc(room, sizeof(*table));
    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < links->room; i++) {
        const HardLink *link = &links->table[i];
        if (link->name)
            *find_slot(table, room, link->device, link->inode) = *link;
    }
    free(links->table);
    links->table = table;
    links->room = room;
    return 0;
}

const char *hard_links_add(HardLinks *links, const struct stat *file, const char *name) {
    if (links->used * 2 >= links->room && enlarge(links) < 0)
        return NULL;
    HardLink *slot = find_slot(links->table, links->room, file->st_dev, file->st_ino);
    if (slot->name)
        return slot->name;
    *slot = (HardLink){file->st_dev, file->st_ino, strdup(name)};
    links->used += slot->name != NULL;
    return NULL;
}

void hard_links_free(HardLinks *links) {
    for (size_t i = 0; i < links->room; i++)
        free(links->table[i].name);
    free(links->table);
}
