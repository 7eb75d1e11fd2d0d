/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_LIST_H
#define RAMET_CLI_LIST_H

#include "cli/args.h"
#include "cli/table.h"
#include "proto/api.h"

/* What the verbs that list things have in common: asks for the list (query may be NULL), and prints
 * it as JSON or as a table with a row for each item. columns as table_new takes them. */
int list_print(const Args *args, ApiId id, const char *query, const char *const *columns,
               void (*add_row)(Table *table, const json_t *item), Error *error);

#endif
