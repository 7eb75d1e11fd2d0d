/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_RECIPE_H
#define RAMET_IMAGE_RECIPE_H

#include "image/recipe_row.h"

/* Finds the recipe of "busybox" or "debian:SUITE"; *suite is borrowed from the text or NULL. */
const Recipe *recipe_find(const char *text, const char **suite);

/* Package names of lists with commas, checked ([a-z0-9][a-z0-9+.-]+). ERROR_USAGE names the bad
 * one. */
int recipe_parse_include(const char *const *lists, size_t n_lists, StrList *packages, Error *error);

#endif
