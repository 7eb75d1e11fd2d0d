/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_TABLE_H
#define RAMET_CLI_TABLE_H

/* Tables by libsmartcols: columns that fit the terminal, plain on a pipe. */

#include <stdio.h>

#include "base/util.h"

typedef struct Table Table;

/* columns (borrowed until table_print) ends with NULL; a leading '>' aligns to the right, a leading
 * '~' wraps long cells on a terminal. Aborts when out of memory. */
Table *table_new(FILE *stream, const char *const *columns);

/* One row; as many cells as columns. Control characters are escaped. */
void table_add(Table *table, const char *const *cells);
void table_print(Table *table);
void table_free(Table *table);
DEFINE_CLEANUP(Table *, table_free);

#endif
