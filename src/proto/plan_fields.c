/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/plan_fields.h"

/* Writing and reading walk the same table, so that they cannot differ. Reading trusts nothing:
 * every text is bounded and printable, every number is within its maximum, every descriptor's index
 * is below n_fds. */

#include <errno.h>
#include <string.h>

#include "base/str.h"

/* ---- writing ---- */

static json_t *write_bytes(const uint8_t *data, size_t size) {
    char text[2 * 16 + 1];
    hex_encode(data, MIN_OF(size, (size_t)16), text);
    return json_string(text);
}

static json_t *write_number(uint64_t value) {
    return json_integer((json_int_t)MIN_OF(value, (uint64_t)INT64_MAX));
}

static json_t *write_field(const Field *field, const char *base);

static json_t *write_list(const Field *field, const char *at, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++, at += field->stride)
        (void)json_array_append_new(list, field->members->name
                                              ? fields_write(field->members, field->n_members, at)
                                              : write_field(field->members, at));
    return list;
}

static json_t *write_field(const Field *field, const char *base) {
    const void *at = base + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_LINES:
        return json_string(at);
    case FIELD_STRING:
        return *(char *const *)at ? json_string(*(char *const *)at) : json_null();
    case FIELD_U64:
        return write_number(*(const uint64_t *)at);
    case FIELD_UNSIGNED:
        return write_number(*(const unsigned *)at);
    case FIELD_U16:
        return write_number(*(const uint16_t *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_BYTES:
        return write_bytes(at, field->limit);
    case FIELD_FD:
        return json_integer(*(const int *)at);
    case FIELD_CHOICE:
        return json_string(field->names[*(const unsigned *)at]);
    case FIELD_STRUCT:
        return fields_write(field->members, field->n_members, at);
    case FIELD_LIST:
        return write_list(field, at, *(const size_t *)(base + field->count));
    }
    return NULL;
}

json_t *fields_write(const Field *fields, size_t n_fields, const void *base) {
    json_t *object = json_object();
    for (size_t i = 0; i < n_fields; i++)
        json_object_set_new(object, fields[i].name, write_field(&fields[i], base));
    return object;
}

/* ---- reading ---- */

int fields_wrong(Error *error, const char *name, const char *rule) {
    return error_set(error, ERROR_USAGE, 0, "%s of the plan %s", name ? name : "an item", rule);
}

static bool is_printable(const char *text, size_t limit, bool lines) {
    size_t length = strlen(text);
    if (length >= limit)
        return false;
    for (; *text; text++)
        if ((*text < ' ' || *text > '~') && !(lines && *text == '\n'))
            return false;
    return true;
}

static int read_text(const Field *field, const json_t *value, void *at, Error *error) {
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) != strlen(text) ||
        !is_printable(text, field->limit, field->kind == FIELD_LINES))
        return fields_wrong(error, field->name, "is no printable text or too long");
    if (field->kind == FIELD_STRING) {
        free(*(char **)at);
        *(char **)at = str_copy(text);
    } else {
        memcpy(at, text, strlen(text) + 1);
    }
    return 0;
}

static int read_number(const Field *field, const json_t *value, void *at, Error *error) {
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > field->limit)
        return fields_wrong(error, field->name, "is no number within its bounds");
    uint64_t number = (uint64_t)json_integer_value(value);
    if (field->kind == FIELD_U64)
        *(uint64_t *)at = number;
    else if (field->kind == FIELD_UNSIGNED)
        *(unsigned *)at = (unsigned)number;
    else
        *(uint16_t *)at = (uint16_t)number;
    return 0;
}

static int read_fd(const char *name, const json_t *value, size_t n_fds, int *fd, Error *error) {
    if (!json_is_integer(value) || json_integer_value(value) < -1 ||
        json_integer_value(value) >= (json_int_t)n_fds)
        return fields_wrong(error, name, "names a descriptor that did not come");
    *fd = (int)json_integer_value(value);
    return 0;
}

static int read_bool(const Field *field, const json_t *value, bool *at, Error *error) {
    if (!json_is_boolean(value))
        return fields_wrong(error, field->name, "is not true or false");
    *at = json_is_true(value);
    return 0;
}

static int read_bytes(const Field *field, const json_t *value, uint8_t *at, Error *error) {
    const char *text = json_string_value(value);
    if (!text || hex_decode(text, at, field->limit) < 0)
        return fields_wrong(error, field->name, "is not so many hexadecimal digits");
    return 0;
}

static int read_choice(const Field *field, const json_t *value, unsigned *at, Error *error) {
    for (unsigned i = 0; i < field->limit; i++)
        if (str_equal(json_string_value(value), field->names[i])) {
            *at = i;
            return 0;
        }
    return fields_wrong(error, field->name, "is unknown");
}

static int read_field(const Field *field, const json_t *value, size_t n_fds, char *base,
                      Error *error);

static int read_list(const Field *field, const json_t *list, size_t n_fds, char *base,
                     Error *error) {
    char *at = base + field->offset;
    int r = 0;
    if (!json_is_array(list))
        return fields_wrong(error, field->name, "is no list");
    if (json_array_size(list) > field->limit)
        return fields_wrong(error, field->name, "has too many items");
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++, at += field->stride) {
        const json_t *item = json_array_get(list, i);
        r = field->members->name
                ? fields_read(field->name, field->members, field->n_members, item, n_fds, at, error)
                : read_field(field->members, item, n_fds, at, error);
    }
    *(size_t *)(base + field->count) = json_array_size(list);
    return r;
}

static int read_field(const Field *field, const json_t *value, size_t n_fds, char *base,
                      Error *error) {
    void *at = base + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_LINES:
    case FIELD_STRING:
        return read_text(field, value, at, error);
    case FIELD_U64:
    case FIELD_UNSIGNED:
    case FIELD_U16:
        return read_number(field, value, at, error);
    case FIELD_BOOL:
        return read_bool(field, value, at, error);
    case FIELD_BYTES:
        return read_bytes(field, value, at, error);
    case FIELD_FD:
        return read_fd(field->name, value, n_fds, at, error);
    case FIELD_CHOICE:
        return read_choice(field, value, at, error);
    case FIELD_STRUCT:
        return fields_read(field->name, field->members, field->n_members, value, n_fds, at, error);
    case FIELD_LIST:
        return read_list(field, value, n_fds, base, error);
    }
    return -EINVAL;
}

int fields_read(const char *what, const Field *fields, size_t n_fields, const json_t *object,
                size_t n_fds, void *base, Error *error) {
    if (!json_is_object(object))
        return fields_wrong(error, what, "is no object");
    for (size_t i = 0; i < n_fields; i++) {
        const json_t *value = json_object_get(object, fields[i].name);
        if ((!value || json_is_null(value)) && fields[i].kind != FIELD_STRUCT)
            continue; /* stays as plan_init made it */
        int r = read_field(&fields[i], value, n_fds, base, error);
        if (r < 0)
            return r;
    }
    return 0;
}
