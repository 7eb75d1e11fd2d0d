/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_LIST_H
#define RAMET_CLI_LIST_H

#include "cli/args.h"
#include "cli/table.h"
#include "proto/api/api.h"

#define LIST_QUIET(what) \
    { 'q', "quiet", ARG_FLAG, .help = (what) }

/* Prints the member `key` of each item, or "id" where that is null: --quiet. */
int list_print_member(ApiId id, const char *query, const char *key, Error *error);

/* One line for each item, by --format. */
int list_print_format(const char *template, const json_t *list, Error *error);

/* What the verbs that list things have in common: asks for the list (query may be NULL), and prints
 * it as JSON, by --format or as a table with a row for each item. columns as table_new takes them.
 */
int list_print(const Args *args, ApiId id, const char *query, const char *const *columns,
               void (*add_row)(Table *table, const json_t *item), Error *error);

#endif
