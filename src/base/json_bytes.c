/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in JSON, whose strings are Unicode. In memory a string holds any bytes. As text, one that
 * is no UTF-8 or holds a NUL is written as {"base64":"…"}, and json_parse makes a string of that
 * again; so nobody in between has to know of it.
 *
 * The library's own constructors give NULL for such a string, and for all of a document that has
 * one in it, which is easily taken for "absent". The ones here, which take their names in
 * json_bytes.h, cannot fail: without memory they end the program. They call the library's by
 * (name)(…). */

#include "base/json_bytes.h"

#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/str.h"
#include "base/utf8.h"

static json_t *never_null(json_t *json) {
    if (!json)
        abort();
    return json;
}

/* ---- making ---- */

json_t *json_from_bytes(const void *bytes, size_t size) {
    return never_null(json_stringn_nocheck(size ? bytes : "", size));
}

json_t *json_from_cstring(const char *text) {
    return text ? json_from_bytes(text, strlen(text)) : json_null();
}

/* A format that is being read, and its arguments. */
typedef struct Packer {
    const char *format;
    va_list args;
} Packer;

static char next_sign(Packer *packer) {
    packer->format += strspn(packer->format, " ,:\t\n");
    return *packer->format ? *packer->format++ : '\0';
}

/* What stands behind s, o or O: '*' leaves a NULL out; otherwise it becomes null. */
static json_t *optional(Packer *packer, json_t *value) {
    bool leave_out = *packer->format == '*';
    packer->format += strspn(packer->format, "?*");
    return value || leave_out ? value : json_null();
}

static json_t *pack_value(Packer *packer, char sign);

static json_t *pack_object(Packer *packer) {
    json_t *object = never_null(json_object());
    for (char sign; (sign = next_sign(packer)) != '}';) {
        const char *key = va_arg(packer->args, const char *);
        json_t *value;
        if (sign != 's')
            abort(); /* formats are written in the program */
        value = pack_value(packer, next_sign(packer));
        if (value)
            (void)json_object_set_new_nocheck(object, key, value);
    }
    return object;
}

static json_t *pack_array(Packer *packer) {
    json_t *array = never_null(json_array());
    for (char sign; (sign = next_sign(packer)) != ']';) {
        json_t *value = pack_value(packer, sign);
        if (value)
            (void)json_array_append_new(array, value);
    }
    return array;
}

static json_t *pack_text(Packer *packer) {
    const char *text = va_arg(packer->args, const char *);
    if (*packer->format == '%') {
        packer->format++;
        return json_from_bytes(text, va_arg(packer->args, size_t));
    }
    return optional(packer, text ? json_from_cstring(text) : NULL);
}

/* NULL: it is left out. */
static json_t *pack_value(Packer *packer, char sign) {
    switch (sign) {
    case '{':
        return pack_object(packer);
    case '[':
        return pack_array(packer);
    case 's':
        return pack_text(packer);
    case 'n':
        return json_null();
    case 'b':
        return va_arg(packer->args, int) ? json_true() : json_false();
    case 'i':
        return never_null(json_integer(va_arg(packer->args, int)));
    case 'I':
        return never_null(json_integer(va_arg(packer->args, json_int_t)));
    case 'f':
        return never_null(json_real(va_arg(packer->args, double)));
    case 'o':
        return optional(packer, va_arg(packer->args, json_t *));
    case 'O':
        return optional(packer, json_incref(va_arg(packer->args, json_t *)));
    default:
        abort();
    }
}

json_t *json_make(const char *format, ...) {
    Packer packer = {.format = format};
    json_t *made;
    va_start(packer.args, format);
    made = never_null(pack_value(&packer, next_sign(&packer)));
    va_end(packer.args);
    return made;
}

/* ---- reading ---- */

/* {"base64":"…"} as a string; NULL for anything else. */
static json_t *decode(const json_t *json) {
    const json_t *text = json_object_size(json) == 1 ? json_object_get(json, "base64") : NULL;
    _cleanup_free_ char *bytes = NULL;
    size_t size = 0;
    if (!json_is_string(text) ||
        base64_decode(json_string_value(text), json_string_length(text), &bytes, &size) < 0)
        return NULL;
    return json_from_bytes(bytes, size);
}

/* The document with strings in the place of encoded bytes; takes it and gives it. */
json_t *json_decode_bytes(json_t *json) {
    json_t *string = decode(json), *item;
    size_t i;
    if (string) {
        json_decref(json);
        return string;
    }
    for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at))
        if (json_is_object(json_object_iter_value(at)) || json_is_array(json_object_iter_value(at)))
            (void)json_object_iter_set_new(
                json, at, json_decode_bytes(json_incref(json_object_iter_value(at))));
    json_array_foreach(json, i, item) {
        if (json_is_object(item) || json_is_array(item))
            (void)json_array_set_new(json, i, json_decode_bytes(json_incref(item)));
    }
    return json;
}

/* A copy with a NUL behind it. */
static char *copy_bytes(const char *from, size_t size) {
    char *copy = malloc(size + 1);
    if (!copy)
        abort();
    memcpy(copy, from, size);
    copy[size] = '\0';
    return copy;
}

int json_to_bytes(const json_t *json, char **bytes, size_t *size) {
    _cleanup_json_ json_t *decoded = json_is_string(json) ? NULL : decode(json);
    const json_t *string = decoded ? decoded : json;
    if (!json_is_string(string))
        return -EINVAL;
    *bytes = copy_bytes(json_string_value(string), json_string_length(string));
    *size = json_string_length(string);
    return 0;
}

/* ---- writing ---- */

static bool string_is_text(const json_t *json) {
    const char *bytes = json_string_value(json);
    size_t size = json_string_length(json);
    return !memchr(bytes, '\0', size) && utf8_is_valid(bytes, size);
}

static bool is_text(const json_t *json) {
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_string(json))
        return string_is_text(json);
    json_object_foreach((json_t *)json, key, item) {
        if (!is_text(item))
            return false;
    }
    json_array_foreach((json_t *)json, i, item) {
        if (!is_text(item))
            return false;
    }
    return true;
}

static json_t *encode_string(const json_t *json) {
    _cleanup_free_ char *text = base64_encode(json_string_value(json), json_string_length(json));
    return json_make("{s:s}", "base64", text);
}

/* The document as it can be written: itself, or a copy. */
static json_t *encode(const json_t *json) {
    json_t *copy, *item;
    const char *key;
    size_t i;
    if (is_text(json))
        return json_incref((json_t *)json);
    if (json_is_string(json))
        return encode_string(json);
    copy = never_null(json_is_object(json) ? json_object() : json_array());
    json_object_foreach((json_t *)json, key, item) {
        (void)json_object_set_new(copy, key, encode(item));
    }
    json_array_foreach((json_t *)json, i, item) {
        (void)json_array_append_new(copy, encode(item));
    }
    return copy;
}

char *json_write(const json_t *json, size_t flags) {
    _cleanup_json_ json_t *encoded = encode(json);
    return (json_dumps)(encoded, flags);
}

int json_write_file(const json_t *json, FILE *file, size_t flags) {
    _cleanup_json_ json_t *encoded = encode(json);
    return (json_dumpf)(encoded, file, flags);
}
