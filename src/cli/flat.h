/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_FLAT_H
#define RAMET_CLI_FLAT_H

#include "base/json.h"
#include "cli/args.h"

/* Prints an object as two columns, members of members with dots: "disk.path  /…". Bytes and
 * microseconds are shown for people. */
int flat_print(const json_t *object, Error *error);

/* What the inspecting verbs print of one thing: nothing yet with --json, a line with --format, else
 * the table. */
int inspect_print(const Args *args, const json_t *object, Error *error);

#endif
