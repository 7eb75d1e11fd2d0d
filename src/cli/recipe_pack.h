/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_RECIPE_PACK_H
#define RAMET_CLI_RECIPE_PACK_H

#include "base/error.h"
#include "base/json.h"

/* What a recipe is sent as: a file with the archives of its copies, one after the other, and the
 * recipe as JSON at its end, where a copy has "bytes" (of its archive) and "flags" then. `recipe`
 * (as recipe_file.h gives it) is changed so. Files are named from the recipe's folder and lie below
 * it. *fd, at its beginning, is the caller's; *json_bytes: the length of the JSON. */
int recipe_pack(json_t *recipe, int *fd, uint64_t *json_bytes, Error *error);

#endif
