/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/prefix.h"

#include <string.h>

static void add_line(Prefix *prefix, StrBuf *out) {
    strbuf_add_text(out, prefix->text);
    strbuf_add(out, prefix->line.data, prefix->line.size);
    if (prefix->line.data[prefix->line.size - 1] != '\n')
        strbuf_add_text(out, "\n");
    strbuf_free(&prefix->line);
}

void prefix_add(Prefix *prefix, const char *data, size_t size, StrBuf *out) {
    while (size > 0) {
        size_t room = PREFIX_LINE_MAX - prefix->line.size;
        size_t part = size < room ? size : room;
        const char *newline = memchr(data, '\n', part);
        if (newline)
            part = (size_t)(newline + 1 - data);
        strbuf_add(&prefix->line, data, part);
        if (newline || prefix->line.size == PREFIX_LINE_MAX)
            add_line(prefix, out);
        data += part;
        size -= part;
    }
}

void prefix_end(Prefix *prefix, StrBuf *out) {
    if (prefix->line.size > 0)
        add_line(prefix, out);
}

void prefix_free(Prefix *prefix) {
    strbuf_free(&prefix->line);
}
