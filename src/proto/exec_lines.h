/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_EXEC_LINES_H
#define RAMET_PROTO_EXEC_LINES_H

/* An exec request as NDJSON: the first line is the request as it would be alone, each further one
 * {"stream":"stdin","data":BYTES}, a piece of the command's input. */

#include "base/json.h"

#define EXEC_LINES_MAX ((size_t)16u << 20) /* all lines together */

/* One request again: what the lines bring is its member "input". ERROR_USAGE says which line is
 * wrong. */
int exec_lines_parse(const char *text, size_t size, json_t **request, Error *error);

#endif
