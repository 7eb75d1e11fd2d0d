/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"

#include "cli/client.h"
#include "cli/output.h"
#include "cli/template.h"

int list_print_member(ApiId id, const char *query, const char *key, Error *error) {
    _cleanup_json_ json_t *list = NULL;
    const json_t *item;
    size_t i;
    int r = client_call(id, NULL, query, NULL, &list, error);
    if (r < 0)
        return r;
    json_array_foreach(list, i, item) {
        const char *text = json_string_value(json_object_get(item, key));
        if (!text)
            text = json_string_value(json_object_get(item, "id"));
        (void)puts(text ? text : "");
    }
    return output_flush(error);
}

int list_print_format(const char *template, const json_t *list, Error *error) {
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item) {
        _cleanup_(strbuf_free) StrBuf line = {0};
        int r = template_apply(template, item, &line, error);
        if (r < 0)
            return r;
        (void)fwrite(line.data ? line.data : "", 1, line.size, stdout);
        (void)putchar('\n');
    }
    return output_flush(error);
}

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
    if (args_text(args, "format"))
        return list_print_format(args_text(args, "format"), list, error);
    table = table_new(stdout, columns);
    json_array_foreach(list, i, item) add_row(table, item);
    table_print(table);
    return output_flush(error);
}
