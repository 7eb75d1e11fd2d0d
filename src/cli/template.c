/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* Docker's names for what has another one here. */
static const struct {
    const char *theirs, *ours;
} synonyms[] = {
    {"names", "name"}, {"status", "state"}, {"repository", "name"}, {"ipaddress", "ip"}};

/* Letters and digits alone, in small letters. */
static void fold(const char *text, size_t size, char folded[64]) {
    size_t n = 0;
    for (size_t i = 0; i < size && n < 63; i++)
        if (isalnum((unsigned char)text[i]))
            folded[n++] = (char)tolower((unsigned char)text[i]);
    folded[n] = '\0';
}

static const json_t *find_folded(const json_t *object, const char *wanted) {
    const char *key;
    json_t *value;
    char folded[64];
    json_object_foreach((json_t *)object, key, value) {
        fold(key, strlen(key), folded);
        if (strcmp(folded, wanted) == 0)
            return value;
    }
    return NULL;
}

static const json_t *find_member(const json_t *object, const char *name, size_t size) {
    const json_t *found;
    char folded[64];
    fold(name, size, folded);
    found = find_folded(object, folded);
    for (size_t i = 0; !found && i < ARRAY_SIZE(synonyms); i++)
        if (strcmp(synonyms[i].theirs, folded) == 0)
            found = find_folded(object, synonyms[i].ours);
    return found;
}

static char *list_members(const json_t *thing) {
    StrBuf names = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)thing, key, value)
        strbuf_add_format(&names, "%s%s", names.size ? ", " : "", key);
    return strbuf_steal(&names);
}

/* A path such as "disk.path", "labels.role" or, for a list, "forwards.0.host_port". */
static int find_path(const json_t *thing, const char *path, size_t size, const json_t **value,
                     Error *error) {
    const json_t *at = thing;
    for (size_t i = 0; i < size;) {
        size_t n = strcspn(path + i, ".");
        uint64_t index;
        _cleanup_free_ char *name = str_format("%.*s", (int)MIN_OF(n, size - i), path + i);
        i += MIN_OF(n, size - i) + 1;
        if (json_is_array(at) && parse_u64(name, INT32_MAX, &index) == 0)
            at = json_array_get(at, (size_t)index);
        else if (json_is_null(at))
            break; /* nothing is in nothing */
        else
            at = find_member(at, name, strlen(name));
        if (!at) {
            _cleanup_free_ char *names = list_members(thing);
            error_set(error, ERROR_USAGE, EINVAL, "--format: there is no field %.*s", (int)size,
                      path);
            error_set_hint(error, "fields are %s", names);
            return -EINVAL;
        }
    }
    *value = at;
    return 0;
}

static void add_value(StrBuf *line, const json_t *value, bool as_json) {
    if (!as_json && json_is_string(value)) {
        strbuf_add(line, json_string_value(value), json_string_length(value));
    } else if (as_json || !json_is_null(value)) {
        _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        strbuf_add_text(line, text ? text : "");
    }
}

/* What stands between {{ and }}. */
static int apply_action(const char *text, size_t size, const json_t *thing, StrBuf *line,
                        Error *error) {
    const json_t *value = thing;
    bool as_json = false;
    int r;
    for (; size > 0 && *text == ' '; text++)
        size--;
    for (; size > 0 && text[size - 1] == ' ';)
        size--;
    if (size > 5 && strncmp(text, "json ", 5) == 0) {
        as_json = true;
        text += 5;
        size -= 5;
    }
    if (size == 0 || *text != '.' || memchr(text, ' ', size))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "--format: \"%.*s\" is neither .FIELD nor json .FIELD", (int)size, text);
    r = find_path(thing, text + 1, size - 1, &value, error);
    if (r >= 0)
        add_value(line, value, as_json);
    return r;
}

/* The length of NAME in "{NAME}"; 0: these braces are no field. */
static size_t short_field(const char *text) {
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return text[n] == '}' ? n : 0;
}

/* Takes what begins at *at, and moves it on. */
static int expand_piece(const char **at, const json_t *thing, StrBuf *line, Error *error) {
    const char *text = *at, *end;
    const json_t *value;
    size_t n;
    int r = 0;
    if (strncmp(text, "{{", 2) == 0) {
        end = strstr(text, "}}");
        if (!end)
            return error_set(error, ERROR_USAGE, EINVAL, "--format: {{ without }}");
        r = apply_action(text + 2, (size_t)(end - text - 2), thing, line, error);
        *at = end + 2;
    } else if (*text == '{' && (n = short_field(text + 1)) > 0) {
        r = find_path(thing, text + 1, n, &value, error);
        if (r >= 0)
            add_value(line, value, false);
        *at = text + n + 2;
    } else if (text[0] == '\\' && (text[1] == 't' || text[1] == 'n')) {
        strbuf_add_text(line, text[1] == 't' ? "\t" : "\n");
        *at = text + 2;
    } else {
        strbuf_add(line, text, 1);
        *at = text + 1;
    }
    return r;
}

int template_apply(const char *template, const json_t *thing, StrBuf *line, Error *error) {
    int r = 0;
    if (strcmp(template, "json") == 0) {
        add_value(line, thing, true);
        return 0;
    }
    while (r >= 0 && *template)
        r = expand_piece(&template, thing, line, error);
    return r;
}
