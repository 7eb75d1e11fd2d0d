/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/utf8.h"

#define DEPTH_MAX 64

/* Is the text nested deeper than DEPTH_MAX? Looks at brackets outside of strings only, so that the
 * parser, which recurses, sees no text that could exhaust the stack. */
static bool too_deep(const char *text, size_t size) {
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > DEPTH_MAX)
            return true;
    }
    return false;
}

int json_parse(const char *what, const char *text, size_t size, json_t **json, Error *error) {
    if (too_deep(text, size))
        return error_set(error, ERROR_USAGE, 0, "%s is nested deeper than %d levels", what,
                         DEPTH_MAX);
    json_error_t problem;
    json_t *parsed = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    if (!parsed) {
        /* The parser quotes the text, which may come from a guest. */
        _cleanup_free_ char *reason = str_sanitize(problem.text, strlen(problem.text));
        return error_set(error, ERROR_USAGE, 0, "%s is not valid JSON: line %d, column %d: %s",
                         what, problem.line, problem.column, reason);
    }
    *json = json_decode_bytes(parsed);
    return 0;
}

static int lacks(const char *what, const char *key, Error *error) {
    return error_set(error, ERROR_USAGE, 0, "%s lacks %s", what, key);
}

static int wrong_type(const char *what, const char *key, const char *wanted, Error *error) {
    return error_set(error, ERROR_USAGE, 0, "%s of %s is not %s", key, what, wanted);
}

/* The member; NULL when it is absent or null. */
static const json_t *find(const json_t *object, const char *key) {
    const json_t *member = json_object_get(object, key);
    return json_is_null(member) ? NULL : member;
}

int json_get_string(const char *what, const json_t *object, const char *key, const char **value,
                    Error *error) {
    if (!find(object, key))
        return lacks(what, key, error);
    return json_opt_string(what, object, key, value, error);
}

int json_get_u64(const char *what, const json_t *object, const char *key, uint64_t *value,
                 Error *error) {
    if (!find(object, key))
        return lacks(what, key, error);
    return json_opt_u64(what, object, key, value, error);
}

int json_opt_string(const char *what, const json_t *object, const char *key, const char **value,
                    Error *error) {
    const json_t *member = find(object, key);
    if (!member)
        return 0;
    if (!json_is_string(member))
        return wrong_type(what, key, "a string", error);
    *value = json_string_value(member);
    return 0;
}

int json_opt_u64(const char *what, const json_t *object, const char *key, uint64_t *value,
                 Error *error) {
    const json_t *member = find(object, key);
    if (!member)
        return 0;
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return wrong_type(what, key, "a number from 0 up", error);
    *value = (uint64_t)json_integer_value(member);
    return 0;
}

int json_opt_bool(const char *what, const json_t *object, const char *key, bool *value,
                  Error *error) {
    const json_t *member = find(object, key);
    if (!member)
        return 0;
    if (!json_is_boolean(member))
        return wrong_type(what, key, "true or false", error);
    *value = json_is_true(member);
    return 0;
}

/* A message is text for people: bytes in it that are no UTF-8 are shown as \xNN. */
static json_t *readable(const char *text) {
    _cleanup_free_ char *escaped = utf8_escape(text, strlen(text));
    return json_string(escaped);
}

json_t *json_from_error(const Error *error) {
    return json_pack("{s:{s:s, s:o, s:o}}", "error", "code", error_kind_code(error->kind),
                     "message", readable(error_message(error)), "hint",
                     readable(error->hint ? error->hint : ""));
}

int json_to_error(const json_t *object, Error *error) {
    const json_t *body = json_object_get(object, "error");
    if (!json_is_object(body))
        return -EINVAL;
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *message = json_string_value(json_object_get(body, "message"));
    const char *hint = json_string_value(json_object_get(body, "hint"));
    (void)error_set(error, error_kind_from_code(code), 0, "%s",
                    message ? message : "unknown error");
    if (hint && *hint)
        error_set_hint(error, "%s", hint);
    return 0;
}

json_t *json_from_stages(const Stages *stages) {
    json_t *array = json_array();
    for (size_t i = 0; i < stages->count; i++) {
        const Stage *stage = &stages->items[i];
        json_array_append_new(array, json_pack("{s:s, s:I, s:I}", "name", stage->name, "start_us",
                                               (json_int_t)stage->start_usec, "duration_us",
                                               (json_int_t)stage->duration_usec));
    }
    return array;
}

/* Names are shown on terminals: printable ASCII only. */
static bool stage_name_is_valid(const char *name) {
    size_t length = strlen(name);
    if (length == 0 || length >= STAGE_NAME_MAX)
        return false;
    for (; *name; name++)
        if (*name < ' ' || *name > '~')
            return false;
    return true;
}

static int read_stage(const json_t *item, Stage *stage) {
    const char *name = "";
    Stage read = {0};
    if (json_get_string("stage", item, "name", &name, NULL) < 0 ||
        json_get_u64("stage", item, "start_us", &read.start_usec, NULL) < 0 ||
        json_get_u64("stage", item, "duration_us", &read.duration_usec, NULL) < 0 ||
        !stage_name_is_valid(name))
        return -EINVAL;
    memcpy(read.name, name, strlen(name) + 1);
    *stage = read;
    return 0;
}

int json_to_stages(const json_t *array, Stages *stages) {
    if (!json_is_array(array) || json_array_size(array) > STAGES_MAX)
        return -EINVAL;
    Stages read = {.count = json_array_size(array)};
    for (size_t i = 0; i < read.count; i++)
        if (read_stage(json_array_get(array, i), &read.items[i]) < 0)
            return -EINVAL;
    *stages = read;
    return 0;
}

char *json_to_text(const json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        abort();
    return text;
}

void json_replace(json_t **json, json_t *with) {
    json_decref(*json);
    *json = with;
}
