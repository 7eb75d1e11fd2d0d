/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_STEP_WORK_H
#define RAMET_RECIPE_STEP_WORK_H

#include "home/home.h"
#include "home/operation.h"
#include "recipe/recipe_plan.h"
#include "store/vms.h"

/* Does a step in a VM that runs, as root, with the recipe's variables, and tells what it prints,
 * line by line (operation_output). fd: the upload, for a copy. ERROR_FAILED, or ERROR_TIMEOUT after
 * its timeout, with what the guest printed last; ERROR_NO_SPACE: the host had no room for what it
 * writes. */
int step_work(Home *home, Operation *operation, const VmRow *vm, const RecipeStep *step, int fd,
              Error *error);

#endif
