/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_COPY_DESTINATION_H
#define RAMET_AGENT_FILES_COPY_DESTINATION_H

#include "agent/base/result.h"
#include "agent/files/path_beneath.h"
#include "agent/files/tar.h"

#define COPY_TEMPORARY_SIZE 32

/* Where an archive goes. In: path, flags, result, and -1 for the descriptors. */
typedef struct CopyDestination {
    const char *path; /* borrowed */
    uint64_t flags;   /* CopyFlags */
    Result *result;   /* borrowed */
    PathBeneath beneath;
    char base[PATH_MAX];             /* for messages */
    char top[NAME_MAX + 1];          /* the archive's first component; "" in an archive of "." */
    char renamed[NAME_MAX + 1];      /* what it becomes, or "" */
    char stage[COPY_TEMPORARY_SIZE]; /* what a new top is called until it is complete, or "" */
    char final[NAME_MAX + 1];        /* and then */
    int stage_fd;                    /* owned: the folder that this is in */
    bool through;                    /* it is a device: written to, not replaced */
    bool is_new;                     /* a folder that was made for an archive of "." */
    unsigned n_temporary;
} CopyDestination;

/* Finds it out, once, from the archive's first entry. The result has what is in the way. */
int copy_destination_choose(CopyDestination *to, const TarEntry *entry);

/* The name of an entry below the base, with the top renamed, into PATH_MAX bytes. */
int copy_destination_map(CopyDestination *to, const char *name, char *mapped);

/* A name that nothing in the folder has. 0 or a negative errno. */
int copy_destination_pick(CopyDestination *to, int parent, char name[COPY_TEMPORARY_SIZE]);

/* Gives what was made beside its name. A folder is never replaced. 0 or a negative errno. */
int copy_destination_install(int parent, const char *temporary, const char *last);

/* The result says that `name` (mapped) failed, under the name that it was to have. -error. */
int copy_destination_failed(CopyDestination *to, int error, const char *name);

/* What is new gets its name, or goes when the result has an error. Closes all. */
void copy_destination_finish(CopyDestination *to);

#endif
