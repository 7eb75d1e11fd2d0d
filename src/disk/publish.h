/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_PUBLISH_H
#define RAMET_DISK_PUBLISH_H

/* Publish-once: how anything shared comes to be below $RAMET_HOME (docs/architecture.md).
 *
 *     _cleanup_(publish_free_p) Publish *publish = NULL;
 *     r = publish_begin(&options, &publish, &exists, error);   // locks, looks again
 *     if (r < 0 || exists)
 *         return r;                                            // another one made it
 *     … write to publish_scratch_fd(publish) or below publish_scratch_path(publish) …
 *     return publish_commit(publish, error);                   // fsync, 0444, rename, fsync
 *
 * Leaving the scope without a commit removes the scratch and gives the lock back. */

#include <stdbool.h>

#include "base/error.h"

typedef struct Publish Publish; /* opaque; belongs to one thread */

typedef struct PublishOptions {
    const char *home; /* $RAMET_HOME, absolute */
    const char
        *kind; /* folder below it: "images", "kernels", "initramfs", "memory" …; made if absent */
    const char *name; /* final file or folder name. For publish_commit_as: the lock's name only, for
                       * instance "import-SHA256-OF-THE-SOURCE" */
    bool folder;      /* a folder is published, not a file */
    uint64_t deadline_usec; /* monotonic bound on waiting for the lock; 0 or UINT64_MAX: none */
    int cancel_fd;          /* readable or hung up ends the wait with ERROR_CANCELLED; -1: none */
    /* What "look again" means when it is not "KIND/NAME is there", as when the final name is known
     * only after the build: sets *exists. May be NULL. */
    int (*check)(void *data, bool *exists, Error *error);
    void *data;
} PublishOptions;

/* Locks locks/KIND-NAME.lock and looks again. *exists true: the thing is there, *publish is NULL
 * and no lock is held. Else *publish has an empty scratch file (0600) or folder (0700) below tmp/.
 * ERROR_TIMEOUT, ERROR_CANCELLED, ERROR_USAGE for a name with '/', or of the file system. */
int publish_begin(const PublishOptions *options, Publish **publish, bool *exists, Error *error);

/* Borrowed. The descriptor is open for reading and writing (a folder's: O_DIRECTORY). */
const char *publish_scratch_path(const Publish *publish);
int publish_scratch_fd(const Publish *publish);

/* A new path below tmp/ that no other thread can choose; nothing is made there. Removed, with all
 * below it, when the Publish ends. Borrowed from it. */
const char *publish_extra_scratch(Publish *publish);

/* Makes the scratch durable, read-only (files 0444, or 0555 when executable; folders 0555) and
 * gives it its final name. Afterwards the lock is free; publish_free is still needed. */
int publish_commit(Publish *publish, Error *error);

/* The same under a name that is known only now (of its content's digest). When that name exists
 * with the same size it counts as success and the scratch is dropped: names made of a digest have
 * the same content. With another size it is ERROR_CORRUPT. */
int publish_commit_as(Publish *publish, const char *name, Error *error);

/* Absolute path of what was published; NULL before the commit. Borrowed. */
const char *publish_path(const Publish *publish);

/* Ends it: without a commit the scratch is removed. NULL is fine. */
void publish_free(Publish *publish);
DEFINE_CLEANUP(Publish *, publish_free);

/* A name for scratch that no other thread or process chooses: "PREFIX-PID-TID-RANDOM". Caller owns.
 */
char *scratch_name(const char *prefix);

#endif
