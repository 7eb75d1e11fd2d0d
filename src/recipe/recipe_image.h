/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_RECIPE_IMAGE_H
#define RAMET_RECIPE_RECIPE_IMAGE_H

#include "home/home.h"
#include "home/operation.h"
#include "recipe/recipe.h"
#include "recipe/recipe_plan.h"
#include "store/images.h"
#include "store/snapshots.h"

/* May the image be called so? An image that a recipe made loses its name to one that a recipe
 * makes; another one only where that was asked for (ERROR_CONFLICT). *replace: whether one does. */
int recipe_image_check_name(Home *home, const RecipeOptions *options, bool *replace, Error *error);

/* How it is run; the caller's, or NULL. */
json_t *recipe_image_settings(const RecipePlan *plan, const ImageRow *base);

/* Does the name stand for just this image already? */
bool recipe_image_is_there(Home *home, const RecipePlan *plan, const RecipeOptions *options,
                           const SnapshotRow *last, const ImageRow *base);

/* The image of the last step's disk, alone and flat, run as its base is and the recipe says.
 * *image (may not be NULL) is the caller's. */
int recipe_image_make(Home *home, Operation *operation, const RecipePlan *plan,
                      const RecipeOptions *options, const SnapshotRow *last, const ImageRow *base,
                      json_t **image, Error *error);

#endif
