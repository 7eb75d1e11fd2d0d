/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include "base/str.h"

/* By the first byte: the length, and the range of the second byte (RFC 3629, section 4). */
static const struct Form {
    uint8_t from, to, length, second_from, second_to;
} forms[] = {
    {0x00, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct Form *find_form(uint8_t first) {
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (first >= forms[i].from && first <= forms[i].to)
            return &forms[i];
    return NULL;
}

size_t utf8_length(const char *text, size_t size) {
    const uint8_t *bytes = (const uint8_t *)text;
    const struct Form *form = find_form(bytes[0]);
    if (!form || form->length > size)
        return 0;
    if (form->length > 1 && (bytes[1] < form->second_from || bytes[1] > form->second_to))
        return 0;
    for (size_t i = 2; i < form->length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    return form->length;
}

bool utf8_is_valid(const char *text, size_t size) {
    for (size_t i = 0, n; i < size; i += n) {
        n = utf8_length(text + i, size - i);
        if (n == 0)
            return false;
    }
    return true;
}

/* C0, DEL and C1, which a terminal acts upon. */
static bool is_control(const char *text, size_t length) {
    uint8_t first = (uint8_t)text[0];
    return (length == 1 && first < ' ' && first != '\n' && first != '\t') || first == 0x7f ||
           (first == 0xc2 && (uint8_t)text[1] < 0xa0);
}

static char *make_shown(const char *text, size_t size, bool controls) {
    StrBuf escaped = {0};
    for (size_t i = 0, n; i < size; i += n ? n : 1) {
        n = utf8_length(text + i, size - i);
        if (n > 0 && !controls && is_control(text + i, n))
            strbuf_add_text(&escaped, "?");
        else if (n > 0)
            strbuf_add(&escaped, text + i, n);
        else
            strbuf_add_format(&escaped, "\\x%02x", (uint8_t)text[i]);
    }
    return strbuf_steal(&escaped);
}

char *utf8_escape(const char *text, size_t size) {
    return make_shown(text, size, true);
}

char *utf8_show(const char *text, size_t size) {
    return make_shown(text, size, false);
}
