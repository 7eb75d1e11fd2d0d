/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_BASES_H
#define RAMET_STORAGE_BASES_H

/* Frozen bases of disks beside the root disk, HOME/seeds: seeds, config disks, and copies of
 * volumes. One goes when no seed's name, image, VM or snapshot has it any more. */

#include "base/error.h"
#include "disk/base_file.h"
#include "disk/publish.h"
#include "home/home.h"
#include "home/operation.h"

/* Who makes a base, or is about to let a row have one that is there, holds the bases: none goes
 * meanwhile. Nested is fine. */
void bases_hold(Home *home);
void bases_release(Home *home);

static inline void bases_release_p(Home **home) {
    if (*home)
        bases_release(*home);
}
#define _cleanup_bases_ _cleanup_(bases_release_p)

/* Removes those that nobody has; while somebody holds them, as soon as nobody does. */
void bases_collect(Home *home);

/* Is it there, and does somebody hold the bases? */
bool base_is_held(Home *home, const char *base);

/* Begins one in a scratch file of the caller's own, for base_publish (disk/base_file.h). */
int base_begin(Home *home, int cancel_fd, Publish **publish, Error *error);

/* Makes one of what `fill` writes into an empty file; whose it is, the caller sees to, who holds
 * the bases. */
typedef int BaseFill(void *data, const char *path, int fd, int cancel_fd, Error *error);
int base_make(Home *home, Operation *operation, BaseFill *fill, void *data, char base[BASE_ID_SIZE],
              Error *error);

/* Is it there? And its size. -ENOENT (no Error): it is not. */
int base_bytes(const Home *home, const char *base, uint64_t *bytes);

#endif
