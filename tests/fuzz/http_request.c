/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a client sends as method, path, query and body: "METHOD PATH\nNAME=VALUE\nBODY". */

#include <string.h>

#include "base/str.h"
#include "proto/api/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cuts the text at the first `end`; returns what follows, or NULL. */
static char *cut(char *text, char end) {
    char *found = text ? strchr(text, end) : NULL;
    if (!found)
        return NULL;
    *found = '\0';
    return found + 1;
}

static void check(const ApiOperation *row, char *query, const char *body) {
    _cleanup_json_ json_t *input = json_object(), *parsed = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    char *value = cut(query, '=');
    if (value && api_add_query(row, query, value, input, &error) < 0 && !error.message)
        abort();
    if (body && json_parse("the request", body, strlen(body), &parsed, &error) == 0)
        (void)json_object_update_missing(input, parsed);
    if (api_check_input(row, input, &error) < 0 && error.kind != ERROR_USAGE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = strndup((const char *)data, size);
    char argument[API_ARGUMENT_MAX], allowed[64];
    char *path = cut(text, ' '), *query = cut(path, '\n'), *body = cut(query, '\n');
    const ApiOperation *row;
    if (!path)
        return 0;
    if (api_match(text, path, &row, argument, allowed) == 0) {
        free(api_path(row->id, argument, NULL));
        check(row, query, body);
    }
    return 0;
}
