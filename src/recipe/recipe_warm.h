/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_RECIPE_WARM_H
#define RAMET_RECIPE_RECIPE_WARM_H

#include "home/home.h"
#include "home/operation.h"
#include "recipe/recipe.h"
#include "recipe/recipe_plan.h"
#include "recipe/step_vm.h"
#include "store/images.h"
#include "store/snapshots.h"

/* `snapshot-after`: VMs of the image are forked from one in which its program runs. */

/* Forks the last step, starts the image's program and waits until it is ready. On failure the VM
 * stays as it is, for the caller to keep or remove. */
int recipe_warm_start(Home *home, Operation *operation, const RecipePlan *plan,
                      const RecipeOptions *options, const SnapshotRow *last, const ImageRow *base,
                      StepVm *vm, Error *error);

/* 1: VMs of the image, which is there, would be forked from such a one already; 0: not. */
int recipe_warm_is_there(Home *home, Operation *operation, const RecipePlan *plan,
                         const RecipeOptions *options, Error *error);

/* Makes what that VM is the one from which those of the image, which is made now, are forked. */
int recipe_warm_keep(Home *home, Operation *operation, const RecipePlan *plan,
                     const RecipeOptions *options, StepVm *vm, Error *error);

#endif
