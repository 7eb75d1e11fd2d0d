/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_SEEDS_H
#define RAMET_STORAGE_SEEDS_H

/* What can be done with seeds. A seed as JSON: name digest path virtual_bytes content_bytes
 * allocated_bytes entries source created_at users[{name state}]. */

#include "base/error.h"
#include "base/json.h"
#include "disk/rootfs/seed.h"
#include "home/home.h"
#include "home/operation.h"
#include "storage/bases.h"

typedef struct SeedOptions { /* all borrowed */
    const char *name;
    const char *folder;  /* absolute */
    uint64_t size_bytes; /* 0: by its content */
    bool replace;        /* the name may stand for another seed, which loses it */
} SeedOptions;

/* ERROR_CONFLICT when the name stands for another seed and is not to be replaced, or the folder
 * changed meanwhile. VMs of a seed that lost its name keep what they have. */
int seed_create(Home *home, Operation *operation, const SeedOptions *options, json_t **seed,
                Error *error);
int seed_list(Home *home, json_t **list, Error *error);
int seed_inspect(Home *home, const char *reference, json_t **seed, Error *error);

/* Takes the name away. ERROR_CONFLICT when it is the last of its content, and a VM has that, or a
 * snapshot that somebody asked for. What images stand on stays as long as they do. */
int seed_remove(Home *home, const char *reference, Error *error);

/* Makes the base of a folder; whose it is, the caller sees to, who holds the bases. */
int seed_make_base(Home *home, Operation *operation, const char *folder, uint64_t size_bytes,
                   char base[BASE_ID_SIZE], SeedResult *result, Error *error);

#endif
