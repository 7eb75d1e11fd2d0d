/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_IMAGE_SEEDS_H
#define RAMET_STORAGE_IMAGE_SEEDS_H

/* The seeds that an image brings, as its `seeds`: a list of {path digest source virtual_bytes}.
 * NULL: it brings none. Lists are the caller's, who holds the bases (storage/bases.h) until the
 * image is there. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"

/* Makes a base of each folder; `texts` are DIR:PATH. ERROR_USAGE: one is malformed, two are at one
 * path, or there are too many. */
int image_seeds_make(Home *home, Operation *operation, const json_t *texts, json_t **seeds,
                     Error *error);

/* Makes a base of what each disk over a seed had become when the snapshot froze it. Other disks
 * beside the root are left out, with a note. `source` is for people. */
int image_seeds_take(Home *home, Operation *operation, const SnapshotRow *snapshot,
                     const char *source, json_t **seeds, Error *error);

#endif
