/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_RECIPE_SEEDS_H
#define RAMET_RECIPE_RECIPE_SEEDS_H

/* Seeds of a recipe. The steps' VMs have them, and a step may write to them; what the last one
 * leaves is a seed of the image (storage/image_seeds.h). So are those that the base brings. */

#include "home/home.h"
#include "home/operation.h"
#include "recipe/recipe.h"
#include "recipe/recipe_plan.h"

/* Makes a base of each folder, and the VMs of the plan have them. The caller holds the bases
 * (storage/bases.h) until what stands on them is there. ERROR_PERMISSION: the client must not have
 * folders read. */
int recipe_seeds_add(Home *home, Operation *operation, const RecipeOptions *options,
                     RecipePlan *plan, Error *error);

#endif
