/* SPDX-License-Identifier: Apache-2.0 */
/* From a path to its row of the table, and back. */

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "proto/api/api.h"
#include "proto/api/http_client.h"

/* Does the path fit the template? The argument is copied out when it does. */
static bool path_matches(const char *template, const char *path, char argument[API_ARGUMENT_MAX]) {
    const char *brace = strchr(template, '{'), *rest;
    size_t prefix, length;
    argument[0] = '\0';
    if (!brace)
        return strcmp(template, path) == 0;
    prefix = (size_t)(brace - template);
    if (strncmp(template, path, prefix) != 0)
        return false;
    rest = strchr(brace, '}') + 1;
    length = strcspn(path + prefix, "/");
    if (length == 0 || length >= API_ARGUMENT_MAX || strcmp(path + prefix + length, rest) != 0)
        return false;
    http_decode(path + prefix, length, argument);
    return true;
}

int api_match(const char *method, const char *path, const ApiOperation **operation,
              char argument[API_ARGUMENT_MAX], char allowed[64]) {
    char scratch[API_ARGUMENT_MAX], methods[64] = "";
    for (size_t i = 0; i < API_ID_COUNT; i++) {
        const ApiOperation *row = api_operation((ApiId)i);
        if (!path_matches(row->path, path, scratch))
            continue;
        if (strcmp(row->method, method) == 0) {
            *operation = row;
            memcpy(argument, scratch, sizeof(scratch));
            return 0;
        }
        if (strstr(methods, row->method))
            continue;
        if (methods[0])
            strcat(methods, ", ");
        strcat(methods, row->method); /* three short names at most */
    }
    if (!methods[0])
        return -ENOENT;
    memcpy(allowed, methods, sizeof(methods));
    return -EOPNOTSUPP;
}

char *api_path(ApiId id, const char *argument, const char *query) {
    const char *template = api_operation(id)->path;
    const char *brace = strchr(template, '{');
    _cleanup_free_ char *encoded = brace ? http_encode(argument ? argument : "") : NULL;
    _cleanup_(strbuf_free) StrBuf path = {0};
    if (brace) {
        strbuf_add(&path, template, (size_t)(brace - template));
        strbuf_add_text(&path, encoded);
        strbuf_add_text(&path, strchr(brace, '}') + 1);
    } else {
        strbuf_add_text(&path, template);
    }
    if (query && query[0])
        strbuf_add_format(&path, "?%s", query);
    return strbuf_steal(&path);
}
