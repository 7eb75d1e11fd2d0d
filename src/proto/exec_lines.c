/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/exec_lines.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

static int decode_piece(const json_t *line, StrBuf *input, Error *error) {
    const char *stream;
    _cleanup_free_ char *bytes = NULL;
    size_t size;
    int r = json_get_string("the line", line, "stream", &stream, error);
    if (r < 0)
        return r;
    if (!str_equal(stream, "stdin") || json_object_size(line) != 2)
        return error_set(error, ERROR_USAGE, 0, "it is not {\"stream\":\"stdin\",\"data\"}");
    if (json_to_bytes(json_object_get(line, "data"), &bytes, &size) < 0)
        return error_set(error, ERROR_USAGE, 0, "its data are neither a string nor base64");
    strbuf_add(input, bytes, size);
    return 0;
}

static int decode_line(const char *text, size_t size, json_t **request, StrBuf *input,
                       Error *error) {
    _cleanup_json_ json_t *line = NULL;
    int r = json_parse("the line", text, size, &line, error);
    if (r == 0 && !json_is_object(line))
        r = error_set(error, ERROR_USAGE, 0, "it is not a JSON object");
    if (r == 0 && *request)
        r = decode_piece(line, input, error);
    else if (r == 0)
        *request = TAKE_PTR(line);
    return r;
}

static bool is_blank(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r", text[i]) || !text[i])
            return false;
    return true;
}

int exec_lines_parse(const char *text, size_t size, json_t **request, Error *error) {
    _cleanup_json_ json_t *made = NULL;
    _cleanup_(strbuf_free) StrBuf input = {0};
    unsigned number = 0;
    for (size_t length; size > 0; text += length, size -= length) {
        const char *end = memchr(text, '\n', size);
        size_t line = end ? (size_t)(end - text) : size;
        number++;
        length = line + (end ? 1 : 0);
        if (!is_blank(text, line) && decode_line(text, line, &made, &input, error) < 0)
            return error_add_context(error, "line %u of the request", number);
    }
    if (!made)
        return error_set(error, ERROR_USAGE, 0, "the request has no line");
    if (input.size > 0 && json_object_get(made, "input"))
        return error_set(error, ERROR_USAGE, 0, "the request has input, and lines with more of it");
    if (input.size > 0)
        (void)json_object_set_new(made, "input", json_from_bytes(input.data, input.size));
    *request = TAKE_PTR(made);
    return 0;
}
