/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flat.h"

#include "base/str.h"
#include "cli/list.h"
#include "cli/output.h"
#include "cli/table.h"

#define DEPTH_MAX 8

static char *scalar_text(const char *key, const json_t *value) {
    uint64_t number = json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
    if (json_is_integer(value) && (str_has_suffix(key, "_bytes") || str_has_suffix(key, ".bytes")))
        return format_size(number);
    if (json_is_integer(value) && str_has_suffix(key, "_us"))
        return format_duration(number);
    if (json_is_integer(value))
        return str_format("%lld", (long long)json_integer_value(value));
    if (json_is_real(value))
        return str_format("%g", json_real_value(value));
    if (json_is_string(value))
        return str_copy(json_string_value(value));
    return str_copy(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
}

/* "kernel 400 ms" for things that have a name. */
static void add_value(Table *table, const char *key, const json_t *value, unsigned depth);

static void add_list(Table *table, const char *key, const json_t *list, unsigned depth) {
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        const json_t *duration = json_object_get(item, "duration_us");
        if (name && json_is_integer(duration)) {
            _cleanup_free_ char *path = str_format("%s.%s", key, name);
            add_value(table, path, duration, depth);
        } else {
            _cleanup_free_ char *path = str_format("%s.%zu", key, i);

            add_value(table, path, item, depth);
        }
    }
}

static void add_value(Table *table, const char *key, const json_t *value, unsigned depth) {
    const char *name;
    json_t *member;
    _cleanup_free_ char *text = NULL;
    if (depth > DEPTH_MAX)
        return;
    if (json_is_array(value)) {
        add_list(table, key, value, depth + 1);
        return;
    }
    if (!json_is_object(value)) {
        bool is_stage = str_has_prefix(key, "stages.") && json_is_integer(value);
        text = is_stage ? format_duration((uint64_t)json_integer_value(value))
                        : scalar_text(key, value);
        table_add(table, (const char *[]){key, text});
        return;
    }
    json_object_foreach((json_t *)value, name, member) {
        _cleanup_free_ char *path = key[0] ? str_format("%s.%s", key, name) : str_copy(name);
        add_value(table, path, member, depth + 1);
    }
}

int flat_print(const json_t *object, Error *error) {
    _cleanup_(table_free_p) Table *table =
        table_new(stdout, (const char *[]){"KEY", "VALUE", NULL});
    add_value(table, "", object, 0);
    table_print(table);
    return output_flush(error);
}

int inspect_print(const Args *args, const json_t *object, Error *error) {
    const char *template = args_text(args, "format");
    _cleanup_json_ json_t *list = json_pack("[O]", object);
    if (args->json)
        return 0;
    return template ? list_print_format(template, list, error) : flat_print(object, error);
}
