/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a request against its row of the table. What passes here has the right types and sizes;
 * what it means is checked by the operation. */

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "proto/api.h"

#define LIST_TEXT_MAX 131072 /* one argument or variable, as execve(2) has it (MAX_ARG_STRLEN) */

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

/* A string without NUL inside (jansson admits \u0000 only when asked; a wrong length shows it). */
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
        return bad(error, field, "is too long");
    return 0;
}

static int check_text(const ApiField *field, const json_t *value, Error *error) {
    int r = check_string(field, value, field->min, field->max, error);

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

static int check_texts(const ApiField *field, const json_t *value, Error *error) {
    size_t i;
    const json_t *item;

    if (!json_is_array(value))
        return bad(error, field, "is not a list");
    if (json_array_size(value) < field->min)
        return bad(error, field, "is empty");
    if (json_array_size(value) > field->max)
        return bad(error, field, "has too many members");
    json_array_foreach(value, i, item) {
        int r = check_string(field, item, 0, LIST_TEXT_MAX, error);

        if (r < 0)
            return r;
    }
    return 0;
}

static int check_members(const ApiField *fields, const json_t *object, Error *error);

static int check_forwards(const ApiField *field, const json_t *value, Error *error) {
    size_t i;
    const json_t *item;

    if (!json_is_array(value))
        return bad(error, field, "is not a list");
    if (json_array_size(value) > field->max)
        return bad(error, field, "has too many members");
    json_array_foreach(value, i, item) {
        int r = check_members(api_forward_fields, item, error);

        if (r < 0)
            return error_add_context(error, "forward %zu", i + 1);
    }
    return 0;
}

static int check_exec(const ApiField *field, const json_t *value, Error *error) {
    int r = check_members(api_operation(API_VM_EXEC)->fields, value, error);

    return r < 0 ? error_add_context(error, "%s", field->name) : 0;
}

static int check_bool(const ApiField *field, const json_t *value, Error *error) {
    return json_is_boolean(value) ? 0 : bad(error, field, "is neither true nor false");
}

static int check_field(const ApiField *field, const json_t *value, Error *error) {
    switch (field->type) {
    case API_TEXT:
        return check_text(field, value, error);
    case API_NAME:
        return check_name(field, value, error);
    case API_NUMBER:
        return check_number(field, value, error);
    case API_BOOL:
        return check_bool(field, value, error);
    case API_TEXTS:
        return check_texts(field, value, error);
    case API_FORWARDS:
        return check_forwards(field, value, error);
    case API_EXEC:
        return check_exec(field, value, error);
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
    _cleanup_free_ char *shown = str_sanitize(name, strnlen(name, 64));

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
    case API_NAME:
        *value = json_string(text);
        return *value ? 0 : bad(error, field, "is not UTF-8");
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

int api_add_query(const ApiOperation *operation, const char *name, const char *value,
                  json_t *object, Error *error) {
    const ApiField *field = find_field(operation->fields, name);
    json_t *parsed;
    int r;

    if (!field || (field->place != API_IN_QUERY && !operation->upload))
        return unknown_member(name, error);
    if (json_object_get(object, name))
        return bad(error, field, "comes twice");
    r = query_value(field, value, &parsed, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(object, name, parsed);
    return 0;
}
