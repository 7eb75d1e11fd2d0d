/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_ROW_FIELDS_H
#define RAMET_STORE_ROW_FIELDS_H

/* Structs that lie in a column as a JSON object, by one table of their members each. What is empty,
 * 0, false or NULL is not written. Members of the object that no table names (of a later version)
 * are kept where a table has a place for them, also those of its structs. Inside src/store only. */

#include <stddef.h>

#include "base/json.h"

typedef enum RowFieldKind {
    ROW_TEXT,   /* char[size] */
    ROW_STRING, /* char *, owned; written when it is empty, too */
    ROW_INT,    /* int or unsigned */
    ROW_U64,
    ROW_BOOL,
    ROW_JSON,    /* json_t *, owned */
    ROW_STRUCT,  /* of `size` members */
    ROW_TYPE,    /* see RowType */
    ROW_UNKNOWN, /* json_t *, owned: the members that no table names; NULL: none */
} RowFieldKind;

/* What has a form of its own, an object or a list. */
typedef struct RowType {
    json_t *(*write)(const void *at); /* the caller's */
    void (*read)(const json_t *json, void *at);
    void (*free)(void *at); /* NULL: it owns nothing */
} RowType;

typedef struct RowField {
    const char *name;
    RowFieldKind kind;
    size_t offset;
    size_t size;                    /* of a text, or number of members */
    const struct RowField *members; /* of a struct */
    const RowType *type;
} RowField;

#define ROW_FIELD(kind, type, name) \
    { #name, kind, offsetof(type, name), 0, NULL, NULL }
#define ROW_TEXT_FIELD(type, name) \
    { #name, ROW_TEXT, offsetof(type, name), sizeof(((type *)NULL)->name), NULL, NULL }
#define ROW_STRUCT_FIELD(type, name, table) \
    { #name, ROW_STRUCT, offsetof(type, name), ARRAY_SIZE(table), table, NULL }
#define ROW_UNKNOWN_FIELD(type, name) \
    { NULL, ROW_UNKNOWN, offsetof(type, name), 0, NULL, NULL }
#define ROW_TYPE_FIELD(type, name, how) \
    { #name, ROW_TYPE, offsetof(type, name), 0, NULL, &(how) }

/* A new object with all members, and those of `unknown` (may be NULL) unless the table keeps such.
 */
json_t *row_fields_write(const RowField *fields, size_t n_fields, const void *base,
                         const json_t *unknown);

/* Reads the object (NULL: none) into a struct of zeroes. A text that is too long is cut. The
 * strings and values are the struct's. Returns what no field names, unless the table keeps it; the
 * caller's, or NULL. */
json_t *row_fields_read(const RowField *fields, size_t n_fields, void *base, const json_t *object);

/* Frees what the struct owns, and leaves NULL. */
void row_fields_free(const RowField *fields, size_t n_fields, void *base);

/* Of structs that several rows have (store/frozen.h, store/vm_spec.h). */
extern const RowField file_stamp_fields[3], snapshot_facts_fields[18], vm_spec_fields[25];
extern const RowField vm_freezing_fields[2]; /* store/disks/vm_disk.h */
extern const RowType vm_mounts_type, vm_disks_type;

#endif
