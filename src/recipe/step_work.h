/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_STEP_WORK_H
#define RAMET_RECIPE_STEP_WORK_H

#include "home/home.h"
#include "recipe/recipe_plan.h"
#include "store/vms.h"

/* Does a step in a VM that runs, as root, with the recipe's variables. fd: the upload, for a copy.
 * ERROR_FAILED, or ERROR_TIMEOUT after its timeout, with what the guest printed last. */
int step_work(Home *home, const VmRow *vm, const RecipeStep *step, int fd, int cancel_fd,
              Error *error);

#endif
