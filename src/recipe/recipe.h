/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_RECIPE_H
#define RAMET_RECIPE_RECIPE_H

/* Images that are built step by step in guests: docs/recipes.md. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

typedef struct RecipeOptions {
    const char *name; /* borrowed: of the image */
    const char *keep; /* borrowed: the VM in which a step fails stays, under this name; NULL: no */
    bool replace;     /* the name may stand for an image that is of no recipe */
    /* May the client have us read that folder? */
    int (*check_folder)(void *data, const char *folder, Error *error);
    void *data; /* borrowed: of check_folder */
    int fd;     /* borrowed: the archives of the copies, and the recipe as JSON at the end */
    uint64_t json_bytes;
} RecipeOptions;

/* Does what was not done before, and makes the image: as catalog_build_image answers, with
 * "steps":[{"line","step","cached","duration_us"}]. ERROR_USAGE: the recipe is wrong, or a copy's
 * archive; ERROR_FAILED and ERROR_TIMEOUT with "FILE:LINE: step N …" and what the guest printed
 * last: a step failed. What was done stays for the next try. */
int recipe_build(Home *home, Operation *operation, const RecipeOptions *options, json_t **image,
                 Error *error);

#endif
