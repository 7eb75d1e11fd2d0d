/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_POOL_H
#define RAMET_POOL_POOL_H

/* Pools of warm clones: VMs that grew from a snapshot ahead of time, ran until their agent
 * answered, and wait, paused and without a link, for somebody to claim them. `fork` and `run` do so
 * by themselves.
 *
 * Of a lab's snapshot whole copies are kept warm, and `lab fork` claims them.
 *
 * A pool as JSON:
 * {"source","kind":"snapshot"|"lab"|"image","snapshot","wanted","warm","memory_bytes",
 * "created_at","error"}. snapshot is null until it is known, error null unless the last try to make
 * a clone failed. The caller owns it. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

#define POOL_COUNT_MAX 256

/* source: a snapshot, a lab's snapshot, or an image, whose boot cache is meant. count 0 ends the
 * pool: its clones are gone then. wait: until all of them are warm. ERROR_NO_MEMORY when they would
 * take more than the budget; ERROR_UNSUPPORTED for a snapshot without memory. */
int pool_set(Home *home, Operation *operation, const char *source, unsigned count, bool wait,
             json_t **pool, Error *error);

/* [Pool], oldest first. */
int pool_list(Home *home, json_t **list, Error *error);

/* Is there any? */
bool pool_exists(Home *home);

/* Ends the pool, if there is one, of a snapshot that is about to go with all that grows from it. */
int pool_forget(Home *home, const Operation *operation, const char *snapshot, Error *error);

#endif
