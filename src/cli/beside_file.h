/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_BESIDE_FILE_H
#define RAMET_CLI_BESIDE_FILE_H

#include "base/error.h"

/* Where what a description (a recipe, a lab) names lies: below the folder of its file, or, of one
 * from standard input, where we are. *path is the caller's. ERROR_USAGE: it leads out of there;
 * ERROR_NOT_FOUND. what: "recipe", "lab". */
int beside_file(const char *what, const char *file, const char *named, char **path, Error *error);

#endif
