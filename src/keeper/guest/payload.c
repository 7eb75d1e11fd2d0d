/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/payload.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "proto/agent.h"
#include "proto/tlv.h"

static int too_long(size_t room, Error *error) {
    int r = error_set(error, ERROR_USAGE, E2BIG,
                      "the command, its arguments and its environment have more than %zu KiB",
                      room / 1024);
    error_set_hint(error,
                   "Linux takes 2 MiB in all; pass more on standard input, or in a file with "
                   "ramet cp");
    return r;
}

/* NUL cannot be in there: an argument ends with it. */
static int add_texts(TlvWriter *writer, uint16_t tag, const json_t *request, const char *key,
                     Error *error) {
    const json_t *list = json_object_get(request, key), *item;
    size_t i;
    if (list && !json_is_null(list) && !json_is_array(list))
        return error_set(error, ERROR_USAGE, 0, "%s is not a list", key);
    json_array_foreach((json_t *)list, i, item) {
        const char *text = json_string_value(item);
        if (!text || strlen(text) != json_string_length(item))
            return error_set(error, ERROR_USAGE, 0, "%s has an item that is no text", key);
        tlv_add_text(writer, tag, text);
    }
    return 0;
}

static int add_text(TlvWriter *writer, uint16_t tag, const json_t *request, const char *key,
                    Error *error) {
    const char *text = NULL;
    int r = json_opt_string("the request", request, key, &text, error);
    if (r == 0 && text && text[0])
        tlv_add_text(writer, tag, text);
    return r;
}

static int add_number(TlvWriter *writer, uint16_t tag, const json_t *request, const char *key,
                      Error *error) {
    uint64_t number = 0;
    int r = json_opt_u64("the request", request, key, &number, error);
    if (r == 0 && number > 0)
        tlv_add_u64(writer, tag, number);
    return r;
}

static int add_flags(TlvWriter *writer, const json_t *request, Error *error) {
    bool program = false, console = false;
    int r = json_opt_bool("the request", request, "program", &program, error);
    if (r == 0)
        r = json_opt_bool("the request", request, "console", &console, error);
    if (r == 0 && (program || console))
        tlv_add_u64(writer, TAG_FLAGS, (program ? EXEC_PROGRAM : 0) | (console ? EXEC_CONSOLE : 0));
    return r;
}

static int add_tty(TlvWriter *writer, const json_t *request, Error *error) {
    bool tty = false;
    int r = json_opt_bool("the request", request, "tty", &tty, error);
    if (r == 0 && tty)
        tlv_add_u64(writer, TAG_TTY, 1);
    return r;
}

ssize_t payload_write_exec(const json_t *request, uint8_t *buffer, size_t room, Error *error) {
    TlvWriter writer;
    tlv_start(&writer, buffer, room);
    if (json_array_size(json_object_get(request, "argv")) == 0)
        return error_set(error, ERROR_USAGE, 0, "there is no command to execute");
    int r = add_texts(&writer, TAG_ARG, request, "argv", error);
    if (r == 0)
        r = add_texts(&writer, TAG_ENV, request, "env", error);
    if (r == 0)
        r = add_text(&writer, TAG_DIRECTORY, request, "directory", error);
    if (r == 0)
        r = add_text(&writer, TAG_USER, request, "user", error);
    if (r == 0)
        r = add_tty(&writer, request, error);
    if (r == 0)
        r = add_flags(&writer, request, error);
    if (r == 0)
        r = add_number(&writer, TAG_ROWS, request, "rows", error);
    if (r == 0)
        r = add_number(&writer, TAG_COLUMNS, request, "columns", error);
    if (r < 0)
        return r;
    return writer.overflow ? too_long(room, error) : (ssize_t)writer.size;
}

ssize_t payload_write_connect(const json_t *request, uint8_t *buffer, size_t room, Error *error) {
    TlvWriter writer;
    tlv_start(&writer, buffer, room);
    uint64_t patience_s = 0;
    int r = add_number(&writer, TAG_PORT, request, "port", error);
    if (r == 0)
        r = json_opt_u64("the request", request, "wait_s", &patience_s, error);
    if (r < 0)
        return r;
    if (patience_s > 0)
        tlv_add_u64(&writer, TAG_LIMIT_USEC, MIN_OF(patience_s, UINT32_MAX) * USEC_PER_SEC);
    return (ssize_t)writer.size;
}

ssize_t payload_write_path(const json_t *request, const char *fallback, uint8_t *buffer,
                           size_t room, Error *error) {
    TlvWriter writer;
    const char *path = fallback;
    tlv_start(&writer, buffer, room);
    int r = json_opt_string("the request", request, "path", &path, error);
    if (r == 0 && !path)
        r = error_set(error, ERROR_USAGE, 0, "the request lacks path");
    if (r == 0) {
        tlv_add_text(&writer, TAG_PATH, path);
        r = add_number(&writer, TAG_FLAGS, request, "flags", error);
        if (r == 0)
            r = add_number(&writer, TAG_MODE, request, "mode", error);
        uint64_t bytes = UINT64_MAX;
        if (r == 0)
            r = json_opt_u64("the request", request, "bytes", &bytes, error);
        if (r == 0 && bytes != UINT64_MAX) /* 0 is a size, too */
            tlv_add_u64(&writer, TAG_SIZE, bytes);
    }
    if (r < 0)
        return r;
    return writer.overflow ? error_set(error, ERROR_USAGE, ENAMETOOLONG, "the path is too long")
                           : (ssize_t)writer.size;
}
