/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/yaml_read.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "proto/api/api_field.h"

#define CPUS_MAX 64
#define TIMEOUT_MAX_S 86400

/* What a value means, of which `reason` says what is wrong. */
int yaml_refuse(YamlReading *file, const YamlNode *node, Error *reason) {
    _cleanup_error_ Error why = ERROR_INIT;
    error_move(&why, reason);
    if (node->key)
        return yaml_tree_error(&file->tree, node, file->error, "%.64s: %s", node->key,
                               error_message(&why));
    return yaml_tree_error(&file->tree, node, file->error, "%s", error_message(&why));
}

int yaml_read_scalar(YamlReading *file, const YamlNode *node) {
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_SCALAR, file->error);
    if (r < 0 || node->text[0] || node->quoted)
        return r;
    return yaml_tree_error(&file->tree, node, file->error, "%.64s has no value",
                           node->key ? node->key : "this item");
}

int yaml_read_text(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0)
        json_object_set_new(object, member, json_string(node->text));
    return r;
}

int yaml_read_image(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    _cleanup_error_ Error reason = ERROR_INIT;
    int r = yaml_read_scalar(file, node);
    if (r >= 0 && name_check("image", node->text, &reason) < 0)
        r = yaml_refuse(file, node, &reason);
    return r < 0 ? r : yaml_read_text(file, node, object, member);
}

static int read_size(YamlReading *file, const YamlNode *node, json_t *object, const char *member,
                     uint64_t most) {
    uint64_t bytes;
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    if (parse_size(node->text, &bytes) < 0)
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s: \"%.40s\" is no size, such as 512M or 4G", node->key,
                               node->text);
    if (bytes > most) {
        _cleanup_free_ char *size = format_size(most);
        return yaml_tree_error(&file->tree, node, file->error, "%s: \"%.40s\" is more than %s",
                               node->key, node->text, size);
    }
    json_object_set_new(object, member, json_integer((json_int_t)bytes));
    return 0;
}

int yaml_read_memory(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return read_size(file, node, object, member, API_MEMORY_MAX);
}

int yaml_read_disk(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return read_size(file, node, object, member, API_DISK_MAX);
}

static int read_number(YamlReading *file, const YamlNode *node, json_t *object, const char *member,
                       uint64_t max) {
    uint64_t number;
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    if (parse_u64(node->text, max, &number) < 0 || number < 1)
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s: \"%.40s\" is no number from 1 to %llu", node->key, node->text,
                               (unsigned long long)max);
    json_object_set_new(object, member, json_integer((json_int_t)number));
    return 0;
}

int yaml_read_cpus(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return read_number(file, node, object, member, CPUS_MAX);
}

int yaml_read_seconds(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return read_number(file, node, object, member, TIMEOUT_MAX_S);
}

int yaml_read_bool(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    bool yes;
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    yes = str_equal(node->text, "true") || str_equal(node->text, "yes");
    if (node->quoted || (!yes && !str_equal(node->text, "false") && !str_equal(node->text, "no")))
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s: \"%.40s\" is neither true nor false", node->key, node->text);
    json_object_set_new(object, member, json_boolean(yes));
    return 0;
}

int yaml_read_items(YamlReading *file, const YamlNode *node, YamlKind kind, json_t *object,
                    const char *member, YamlReadItem read) {
    json_t *array;
    int r = yaml_tree_check_kind(&file->tree, node, kind, file->error);
    if (r < 0)
        return r;
    array = json_array();
    json_object_set_new(object, member, array);
    for (const YamlNode *item = node->first; item && r >= 0; item = item->next)
        r = read(file, item, array);
    return r;
}

static int read_variable(YamlReading *file, const YamlNode *node, json_t *array) {
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_SCALAR, file->error);
    if (r < 0)
        return r;
    if (node->key[0] == '\0' || strchr(node->key, '='))
        return yaml_tree_error(&file->tree, node, file->error, "\"%.64s\" is no name of a variable",
                               node->key);
    _cleanup_free_ char *text = str_format("%s=%s", node->key, node->text);
    json_array_append_new(array, json_string(text));
    return 0;
}

int yaml_read_env(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return yaml_read_items(file, node, YAML_TREE_MAPPING, object, member, read_variable);
}

static int check_keys(YamlReading *file, const YamlNode *node, const YamlKey *keys) {
    const char *names[YAML_KEYS_MAX + 1] = {0};
    for (size_t i = 0; i < YAML_KEYS_MAX && keys[i].name; i++)
        names[i] = keys[i].name;
    return yaml_tree_check_keys(&file->tree, node, names, file->error);
}

int yaml_read_members(YamlReading *file, const YamlNode *node, const YamlKey *keys,
                      json_t *object) {
    int r = check_keys(file, node, keys);
    for (size_t i = 0; keys[i].name && r >= 0; i++) {
        const YamlNode *member = yaml_tree_member(node, keys[i].name);
        if (member)
            r = keys[i].read(file, member, object, keys[i].member);
    }
    return r;
}

json_t *yaml_append_object(json_t *array) {
    json_t *object = json_object();
    json_array_append_new(array, object);
    return object;
}
