/* SPDX-License-Identifier: Apache-2.0 */

#include "store/row_fields.h"

#include <stdio.h>

#include "base/str.h"

static json_t *drop_empty(json_t *value) {
    if (json_object_size(value) + json_array_size(value) + json_string_length(value) > 0)
        return value;
    json_decref(value);
    return NULL;
}

/* NULL: nothing to write. */
static json_t *write_field(const RowField *field, const char *base, const json_t *unknown) {
    const void *at = base + field->offset;
    switch (field->kind) {
    case ROW_TEXT:
        return *(const char *)at ? json_string(at) : NULL;
    case ROW_STRING:
        return *(char *const *)at ? json_string(*(char *const *)at) : NULL;
    case ROW_INT:
        return *(const int *)at ? json_integer(*(const int *)at) : NULL;
    case ROW_U64:
        return *(const uint64_t *)at ? json_integer((json_int_t) * (const uint64_t *)at) : NULL;
    case ROW_BOOL:
        return *(const bool *)at ? json_true() : NULL;
    case ROW_JSON:
        return json_incref(*(json_t *const *)at);
    case ROW_STRUCT:
        return drop_empty(row_fields_write(field->members, field->size, at, unknown));
    case ROW_TYPE:
        return drop_empty(field->type->write(at));
    case ROW_UNKNOWN:
        return NULL;
    }
    return NULL;
}

/* Where the table keeps what no field names; NULL: nowhere. */
static json_t **find_unknown(const RowField *fields, size_t n_fields, const void *base) {
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].kind == ROW_UNKNOWN)
            return (json_t **)((char *)base + fields[i].offset);
    return NULL;
}

json_t *row_fields_write(const RowField *fields, size_t n_fields, const void *base,
                         const json_t *unknown) {
    json_t **own = find_unknown(fields, n_fields, base);
    unknown = own ? *own : unknown;
    json_t *object = unknown ? json_copy((json_t *)unknown) : json_object();
    for (size_t i = 0; i < n_fields; i++) {
        json_t *value = write_field(&fields[i], base, json_object_get(unknown, fields[i].name));
        if (value)
            (void)json_object_set_new(object, fields[i].name, value);
    }
    return object;
}

static void read_text(const RowField *field, const json_t *value, void *at) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    if (json_to_bytes(value, &text, &size) < 0)
        return;
    if (field->kind == ROW_STRING)
        *(char **)at = TAKE_PTR(text);
    else
        (void)snprintf(at, field->size, "%s", text);
}

/* *unknown: what row_fields_read returned. */
static void read_field(const RowField *field, json_t *value, char *base, json_t **unknown) {
    void *at = base + field->offset;
    switch (field->kind) {
    case ROW_TEXT:
    case ROW_STRING:
        read_text(field, value, at);
        return;
    case ROW_INT:
        *(int *)at = (int)json_integer_value(value);
        return;
    case ROW_U64:
        *(uint64_t *)at = (uint64_t)json_integer_value(value);
        return;
    case ROW_BOOL:
        *(bool *)at = json_is_true(value);
        return;
    case ROW_JSON:
        *(json_t **)at = json_incref(value);
        return;
    case ROW_STRUCT:
        *unknown = row_fields_read(field->members, field->size, at, value);
        return;
    case ROW_TYPE:
        field->type->read(value, at);
        return;
    case ROW_UNKNOWN:
        return;
    }
}

json_t *row_fields_read(const RowField *fields, size_t n_fields, void *base, const json_t *object) {
    json_t *rest = json_is_object(object) ? json_copy((json_t *)object) : NULL;
    json_t **own = find_unknown(fields, n_fields, base);
    for (size_t i = 0; rest && i < n_fields; i++) {
        json_t *value = json_object_get(object, fields[i].name), *left = NULL;
        if (value && !json_is_null(value))
            read_field(&fields[i], value, base, &left);
        if (left)
            (void)json_object_set_new(rest, fields[i].name, left);
        else
            (void)json_object_del(rest, fields[i].name);
    }
    rest = drop_empty(rest);
    if (own)
        *own = TAKE_PTR(rest);
    return rest;
}

void row_fields_free(const RowField *fields, size_t n_fields, void *base) {
    for (size_t i = 0; i < n_fields; i++) {
        void *at = (char *)base + fields[i].offset;
        if (fields[i].kind == ROW_STRING) {
            free(*(char **)at);
            *(char **)at = NULL;
        } else if (fields[i].kind == ROW_JSON || fields[i].kind == ROW_UNKNOWN) {
            json_decref(*(json_t **)at);
            *(json_t **)at = NULL;
        } else if (fields[i].kind == ROW_STRUCT) {
            row_fields_free(fields[i].members, fields[i].size, at);
        } else if (fields[i].kind == ROW_TYPE && fields[i].type->free) {
            fields[i].type->free(at);
        }
    }
}
