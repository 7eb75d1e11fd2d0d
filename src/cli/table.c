/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <libsmartcols.h>
#include <unistd.h>

struct Table {
    FILE *stream;                 /* borrowed */
    const char *const *columns;   /* borrowed until it is printed */
    struct libscols_table *scols; /* owned */
    size_t n_columns;
};

static void add_column(Table *table, const char *name) {
    int flags = *name == '>' ? SCOLS_FL_RIGHT : *name == '~' ? SCOLS_FL_WRAP : 0;
    if (!scols_table_new_column(table->scols, name + (flags ? 1 : 0), 0, flags))
        abort();
    table->n_columns++;
}

Table *table_new(FILE *stream, const char *const *columns) {
    Table *table = calloc(1, sizeof(*table));
    if (!table || !(table->scols = scols_new_table()))
        abort();
    table->stream = stream;
    table->columns = columns;
    scols_table_set_stream(table->scols, stream);
    if (!isatty(fileno(stream)))
        scols_table_enable_maxout(table->scols, 0);
    if (!isatty(fileno(stream)))
        scols_table_set_termforce(table->scols, SCOLS_TERMFORCE_NEVER);
    for (; *columns; columns++)
        add_column(table, *columns);
    return table;
}

void table_add(Table *table, const char *const *cells) {
    struct libscols_line *line = scols_table_new_line(table->scols, NULL);
    for (size_t i = 0; i < table->n_columns; i++)
        if (!line || scols_line_set_data(line, i, cells[i]) < 0)
            abort();
}

void table_print(Table *table) {
    if (scols_table_get_nlines(table->scols) > 0) {
        (void)scols_print_table(table->scols);
        return;
    }
    /* the library prints nothing at all for a table without rows */
    for (const char *const *column = table->columns; *column; column++)
        (void)fprintf(table->stream, "%s%s", column == table->columns ? "" : " ",
                      *column + (**column == '>' || **column == '~'));
    (void)fputc('\n', table->stream);
}

void table_free(Table *table) {
    if (!table)
        return;
    scols_unref_table(table->scols);
    free(table);
}
