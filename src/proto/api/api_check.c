/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a request against its row of the table. What passes here has the right types and sizes;
 * what it means is checked by the operation. */

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "base/utf8.h"
#include "proto/api/api.h"
#include "proto/api/api_fields.h"

#define LABEL_MAX 255
#define LIST_TEXT_MAX 131071 /* one argument or variable, as execve(2) has it (MAX_ARG_STRLEN) */

static int bad(Error *error, const ApiField *field, const char *rule) {
    return error_set(error, ERROR_USAGE, 0, "%s %s", field->name, rule);
}

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *p = choices; length > 0; p++) {
        size_t n = strcspn(p, "|");
        if (n == length && strncmp(p, text, n) == 0)
            return true;
        p += n;
        if (!*p)
            return false;
    }
    return false;
}

/* Bytes without NUL inside (base64 admits one; a wrong length shows it). */
static int check_string(const ApiField *field, const json_t *value, uint64_t min, uint64_t max,
                        Error *error) {
    size_t length;
    if (!json_is_string(value))
        return bad(error, field, "is not a string");
    length = json_string_length(value);
    if (strlen(json_string_value(value)) != length)
        return bad(error, field, "holds a NUL");
    if (length < min)
        return bad(error, field, "is empty");
    if (max && length > max)
        return error_set(error, ERROR_USAGE, E2BIG, "%s is longer than %llu bytes", field->name,
                         (unsigned long long)max);
    return 0;
}

static int check_count(const ApiField *field, const json_t *value, Error *error) {
    if (json_array_size(value) <= field->max)
        return 0;
    return error_set(error, ERROR_USAGE, E2BIG, "too many %s: %zu, and at most %llu can be given",
                     field->name, json_array_size(value), (unsigned long long)field->max);
}

static int check_bytes(const ApiField *field, const json_t *value, Error *error) {
    return check_string(field, value, field->min, field->max, error);
}

static int check_text(const ApiField *field, const json_t *value, Error *error) {
    int r = check_bytes(field, value, error);
    if (r == 0 && !utf8_is_valid(json_string_value(value), json_string_length(value)))
        r = bad(error, field, "is not UTF-8");
    if (r < 0 || !field->choices || is_choice(field->choices, json_string_value(value)))
        return r;
    return error_set(error, ERROR_USAGE, 0, "%s is none of %s", field->name, field->choices);
}

static int check_name(const ApiField *field, const json_t *value, Error *error) {
    int r = check_string(field, value, 0, 0, error);
    return r < 0 ? r : name_check(field->name, json_string_value(value), error);
}

static int check_number(const ApiField *field, const json_t *value, Error *error) {
    json_int_t number;
    if (!json_is_integer(value))
        return bad(error, field, "is not a whole number");
    number = json_integer_value(value);
    if (number >= 0 && (uint64_t)number >= field->min && (uint64_t)number <= field->max)
        return 0;
    return error_set(error, ERROR_USAGE, 0, "%s is not within %llu … %llu", field->name,
                     (unsigned long long)field->min, (unsigned long long)field->max);
}

int api_time(const json_t *value, uint64_t *realtime_usec) {
    const char *text = json_string_value(value);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *realtime_usec = (uint64_t)json_integer_value(value);
        return 0;
    }
    if (!text)
        return -EINVAL;
    return parse_u64(text, INT64_MAX, realtime_usec) == 0
               ? 0
               : clock_parse_realtime(text, realtime_usec);
}

static int check_time(const ApiField *field, const json_t *value, Error *error) {
    uint64_t usec;
    return api_time(value, &usec) == 0
               ? 0
               : bad(error, field,
                     "is no time (RFC 3339 such as 2026-11-20T17:33:17Z, or microseconds since "
                     "1970)");
}

static int check_texts(const ApiField *field, const json_t *value, Error *error) {
    size_t i;
    const json_t *item;
    int r;
    if (!json_is_array(value))
        return bad(error, field, "is not a list");
    if (json_array_size(value) < field->min)
        return bad(error, field, "is empty");
    r = check_count(field, value, error);
    json_array_foreach(value, i, item) {
        if (r == 0)
            r = check_string(field, item, 0, LIST_TEXT_MAX, error);
    }
    return r;
}

static int check_members(const ApiField *fields, const json_t *object, Error *error);

static int check_forwards(const ApiField *field, const json_t *value, Error *error) {
    size_t i;
    const json_t *item;
    if (!json_is_array(value))
        return bad(error, field, "is not a list");
    if (check_count(field, value, error) < 0)
        return -E2BIG;
    json_array_foreach(value, i, item) {
        int r = check_members(api_forward_fields, item, error);
        if (r < 0)
            return error_add_context(error, "forward %zu", i + 1);
    }
    return 0;
}

static int check_objects(const ApiField *field, const ApiField *fields, const json_t *value,
                         Error *error) {
    size_t i;
    const json_t *item;
    int r = json_is_array(value) ? 0 : bad(error, field, "is not a list");
    if (r == 0 && json_array_size(value) < field->min)
        r = bad(error, field, "is empty");
    if (r == 0)
        r = check_count(field, value, error);
    json_array_foreach(value, i, item) {
        if (r == 0 && check_members(fields, item, error) < 0)
            r = error_add_context(error, "%s: number %zu", field->name, i + 1);
    }
    return r;
}

static int check_labels(const ApiField *field, const json_t *value, Error *error) {
    const char *key;
    json_t *item;
    if (!json_is_object(value))
        return bad(error, field, "is not an object");
    if (json_object_size(value) > field->max)
        return bad(error, field, "has too many members");
    json_object_foreach((json_t *)value, key, item) {
        int r = check_string(field, item, 0, LABEL_MAX, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_exec(const ApiField *field, const json_t *value, Error *error) {
    _cleanup_json_ json_t *whole = json_copy((json_t *)value);
    if (json_is_object(whole) && !json_object_get(whole, "argv")) /* the image's own */
        (void)json_object_set_new(whole, "argv", json_pack("[s]", "program"));
    int r = check_members(api_operation(API_VM_EXEC)->fields, whole ? whole : value, error);
    return r < 0 ? error_add_context(error, "%s", field->name) : 0;
}

static int check_bool(const ApiField *field, const json_t *value, Error *error) {
    return json_is_boolean(value) ? 0 : bad(error, field, "is neither true nor false");
}

static int check_data(const ApiField *field, const json_t *value, Error *error) {
    _cleanup_free_ char *bytes = NULL;
    size_t size;
    return json_to_bytes(value, &bytes, &size) < 0
               ? bad(error, field, "is neither a string nor base64")
               : 0;
}

static int check_field(const ApiField *field, const json_t *value, Error *error) {
    switch (field->type) {
    case API_TEXT:
        return check_text(field, value, error);
    case API_BYTES:
        return check_bytes(field, value, error);
    case API_NAME:
        return check_name(field, value, error);
    case API_NUMBER:
        return check_number(field, value, error);
    case API_TIME:
        return check_time(field, value, error);
    case API_BOOL:
        return check_bool(field, value, error);
    case API_DATA:
        return check_data(field, value, error);
    case API_TEXTS:
        return check_texts(field, value, error);
    case API_FORWARDS:
        return check_forwards(field, value, error);
    case API_LABELS:
        return check_labels(field, value, error);
    case API_EXEC:
        return check_exec(field, value, error);
    case API_LAB_NETWORKS:
        return check_objects(field, api_lab_network_fields, value, error);
    case API_LAB_VMS:
        return check_objects(field, api_lab_vm_fields, value, error);
    }
    return bad(error, field, "has no type");
}

static const ApiField *find_field(const ApiField *fields, const char *name) {
    for (; fields && fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

static int unknown_member(const char *name, Error *error) {
    _cleanup_free_ char *shown = utf8_show(name, strnlen(name, 64));
    return error_set(error, ERROR_USAGE, 0, "the request has an unknown member \"%s\"", shown);
}

static int check_members(const ApiField *fields, const json_t *object, Error *error) {
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return error_set(error, ERROR_USAGE, 0, "the request is not a JSON object");
    json_object_foreach((json_t *)object, name, value) {
        const ApiField *field = find_field(fields, name);
        int r;
        if (!field)
            return unknown_member(name, error);
        r = json_is_null(value) ? 0 : check_field(field, value, error);
        if (r < 0)
            return r;
    }
    for (; fields && fields->name; fields++)
        if (fields->required && !json_object_get(object, fields->name))
            return error_set(error, ERROR_USAGE, 0, "the request lacks \"%s\"", fields->name);
    return 0;
}

int api_check_input(const ApiOperation *operation, const json_t *input, Error *error) {
    _cleanup_json_ json_t *empty = input ? NULL : json_object();
    return check_members(operation->fields, input ? input : empty, error);
}

static int query_value(const ApiField *field, const char *text, json_t **value, Error *error) {
    uint64_t number;
    switch (field->type) {
    case API_TEXT:
    case API_BYTES:
    case API_NAME:
    case API_TIME:
        *value = json_string(text);
        return 0;
    case API_NUMBER:
        if (parse_u64(text, INT64_MAX, &number) < 0)
            return bad(error, field, "is not a whole number");
        *value = json_integer((json_int_t)number);
        return 0;
    case API_BOOL:
        if (strcmp(text, "1") != 0 && strcmp(text, "0") != 0 && strcmp(text, "true") != 0 &&
            strcmp(text, "false") != 0)
            return bad(error, field, "is neither 0 nor 1");
        *value = json_boolean(text[0] == '1' || text[0] == 't');
        return 0;
    default:
        return bad(error, field, "cannot be in a query");
    }
}

/* A list comes as several parameters of one name. */
static int add_to_list(const ApiField *field, const char *value, json_t *object, Error *error) {
    json_t *list = json_object_get(object, field->name);
    if (!list) {
        list = json_array();
        (void)json_object_set_new(object, field->name, list);
    }
    if (json_array_size(list) >= field->max)
        return bad(error, field, "comes too often");
    (void)json_array_append_new(list, json_string(value));
    return 0;
}

int api_add_query(const ApiOperation *operation, const char *name, const char *value,
                  json_t *object, Error *error) {
    const ApiField *field = find_field(operation->fields, name);
    json_t *parsed = NULL;
    int r;
    if (!field || (field->in != API_IN_QUERY && !operation->upload))
        return unknown_member(name, error);
    if (field->type == API_TEXTS)
        return add_to_list(field, value, object, error);
    if (json_object_get(object, name))
        return bad(error, field, "comes twice");
    r = query_value(field, value, &parsed, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(object, name, parsed);
    return 0;
}
