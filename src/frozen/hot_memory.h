/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_HOT_MEMORY_H
#define RAMET_FROZEN_HOT_MEMORY_H

/* Memory that clones map, in sealed memfds. */

#include "base/error.h"
#include "home/home.h"
#include "store/vms.h"

/* The whole memory of a snapshot in a sealed memfd: hot_memory.c. */
typedef struct HotMemory {
    char id[VM_ID_SIZE]; /* the snapshot's */
    int fd;              /* owned; -1 while it is made */
    bool filling;
    bool only;      /* no file has it yet: it stays */
    uint64_t bytes; /* what it takes */
    uint64_t used_usec;
    struct HotMemory *next;
} HotMemory;

/* An empty memfd for a snapshot's memory, the caller's, or a negative errno. */
int hot_memory_new(const char *id, uint64_t bytes, Error *error);

/* Is there room for what a snapshot takes, without anything else having to go? certain: a fork
 * follows at once; else a half of the budget is left to those that do. */
bool hot_memory_has_room(Home *home, uint64_t wanted, bool certain);

/* Seals a memfd that holds a snapshot's whole memory and keeps a duplicate of it, if there is room.
 * The snapshot need not be ready yet. only: no file has that memory, so it stays until
 * hot_memory_written. Returns whether it is kept. */
bool hot_memory_keep(Home *home, const char *id, int memfd, bool certain, bool only);
void hot_memory_written(Home *home, const char *id);

/* How it is made when it is not there. */
typedef struct HotMemoryMaker {
    const char *id; /* borrowed: the snapshot's */
    uint64_t bytes; /* what it will take, about */
    bool only;      /* as in hot_memory_keep */
    /* The sealed memfd, or a negative errno. Called without locks. */
    int (*make)(void *data, Error *error);
    void *data; /* borrowed */
} HotMemoryMaker;

/* Of several that ask at once one makes it. *fd is the caller's. ERROR_NO_MEMORY: it is more than
 * the budget. */
int hot_memory_get(Home *home, const HotMemoryMaker *maker, int *fd, Error *error);

/* A descriptor of it, the caller's; -1: it is not hot. Never waits. */
int hot_memory_find(Home *home, const char *id);

/* The inode of its memfd, 0 when it is not hot. */
uint64_t hot_memory_inode(Home *home, const char *id);
void hot_memory_drop(Home *home, const char *id);

/* All of it, as it is now. The caller frees the array. */
typedef struct HotMemoryInfo {
    char id[VM_ID_SIZE];
    uint64_t bytes, inode, used_usec; /* monotonic */
    bool filling, only;
} HotMemoryInfo;
void hot_memory_list(Home *home, HotMemoryInfo **list, size_t *count);

/* Hot memory goes with the home. */
void hot_memory_start(Home *home);

/* At the daemon's start, before any use: a descriptor that the service manager kept under a name
 * with HOT_STORE_PREFIX. It is taken over, whether it is a base that is still wanted or not. */
void hot_memory_adopt(Home *home, const char *name, int memfd);

#endif
