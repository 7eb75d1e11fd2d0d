/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_RECIPE_KEY_H
#define RAMET_RECIPE_RECIPE_KEY_H

#include "recipe/recipe_plan.h"
#include "store/snapshots.h"

/* Gives each step of the plan its key: the digest of the key of what it stands on and of all that
 * goes into it. The first stands on `root`, whose own key is that of all that a restore depends on.
 * Of the files of a copy names, modes and contents count, and no times. ERROR_USAGE for an archive
 * that cannot be read; cancel_fd ends it. */
int recipe_keys_make(RecipePlan *plan, const SnapshotRow *root, int fd, int cancel_fd,
                     Error *error);

#endif
