/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"

#include "cli/client.h"
#include "cli/output.h"

int list_print(const Args *args, ApiId id, const char *query, const char *const *columns,
               void (*add_row)(Table *table, const json_t *item), Error *error) {
    _cleanup_(table_free_p) Table *table = NULL;
    _cleanup_json_ json_t *list = NULL;
    const json_t *item;
    size_t i;
    int r = client_call(id, NULL, query, NULL, &list, error);

    if (r < 0)
        return r;
    if (args->json)
        return output_json(list, error);
    table = table_new(stdout, columns);
    json_array_foreach(list, i, item) add_row(table, item);
    table_print(table);
    return output_flush(error);
}
