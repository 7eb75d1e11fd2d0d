/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_PLAN_FIELDS_H
#define RAMET_PROTO_PLAN_FIELDS_H

/* The members of a plan's structs, one table for each struct, and what writes and reads JSON by
 * such a table. For plan.c alone. */

#include <stddef.h>

#include "base/json.h"
#include "base/util.h"

typedef enum FieldKind {
    FIELD_TEXT,   /* char[limit] */
    FIELD_LINES,  /* the same, and newlines in it */
    FIELD_STRING, /* char *, owned, below `limit` bytes */
    FIELD_U64,
    FIELD_UNSIGNED,
    FIELD_U16,
    FIELD_BOOL,
    FIELD_BYTES,  /* uint8_t[limit] as hexadecimal digits */
    FIELD_FD,     /* -1 or an index */
    FIELD_CHOICE, /* an enum, one of `limit` names */
    FIELD_STRUCT, /* must be there */
    FIELD_LIST,   /* of at most `limit` structs; of bare values when their member has no name */
} FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
    size_t offset;
    uint64_t limit; /* size of a text or bytes, greatest value of a number */
    const char *const *names;
    const struct Field *members; /* of a struct, and of each in a list */
    size_t n_members;
    size_t stride, count; /* of a list: size of a struct, offset of how many there are */
} Field;

#define TEXT(type, name) \
    { #name, FIELD_TEXT, offsetof(type, name), sizeof(((type *)NULL)->name) }
#define LINES(type, name) \
    { #name, FIELD_LINES, offsetof(type, name), sizeof(((type *)NULL)->name) }
#define BYTES(type, name) \
    { #name, FIELD_BYTES, offsetof(type, name), sizeof(((type *)NULL)->name) }
#define STRING(type, name, limit) \
    { #name, FIELD_STRING, offsetof(type, name), limit }
#define U64(type, name, limit) \
    { #name, FIELD_U64, offsetof(type, name), limit }
#define UNSIGNED(type, name, limit) \
    { #name, FIELD_UNSIGNED, offsetof(type, name), limit }
#define U16(type, name) \
    { #name, FIELD_U16, offsetof(type, name), UINT16_MAX }
#define BOOL(type, name) \
    { #name, FIELD_BOOL, offsetof(type, name), 1 }
#define FD(type, name) \
    { #name, FIELD_FD, offsetof(type, name), 0 }
#define CHOICE(type, name, words) \
    { #name, FIELD_CHOICE, offsetof(type, name), ARRAY_SIZE(words), words }
#define STRUCT(type, name, table) \
    { #name, FIELD_STRUCT, offsetof(type, name), 0, NULL, table, ARRAY_SIZE(table) }
#define LIST(type, name, array, n, table)                                                        \
    {                                                                                            \
        name, FIELD_LIST, offsetof(type, array), ARRAY_SIZE(((type *)NULL)->array), NULL, table, \
            ARRAY_SIZE(table), sizeof(((type *)NULL)->array[0]), offsetof(type, n)               \
    }

/* The struct as an object, the caller's. */
json_t *fields_write(const Field *fields, size_t n_fields, const void *base);
#define WRITE(fields, base) fields_write(fields, ARRAY_SIZE(fields), base)

/* Reads the object's members into the struct; absent ones and null leave it as it is. what: the
 * object's name, for messages. n_fds bounds the indexes of descriptors. What is wrong is
 * ERROR_USAGE. */
int fields_read(const char *what, const Field *fields, size_t n_fields, const json_t *object,
                size_t n_fds, void *base, Error *error);
#define READ(what, fields, object, n_fds, base, error) \
    fields_read(what, fields, ARRAY_SIZE(fields), object, n_fds, base, error)

/* ERROR_USAGE: "NAME of the plan RULE". */
int fields_wrong(Error *error, const char *name, const char *rule);

#endif
