/* SPDX-License-Identifier: Apache-2.0 */
#include "store/image/image_config.h"

#include <stdlib.h>
#include <string.h>

#include "store/row_fields.h"

json_t *words_to_json(const StrList *words) {
    json_t *list = json_array();
    for (size_t i = 0; i < words->count; i++)
        (void)json_array_append_new(list, json_string(words->items[i]));
    return list;
}

void words_from_json(const json_t *json, StrList *words) {
    const json_t *item;
    size_t i;
    json_array_foreach(json, i, item) {
        if (json_is_string(item))
            strlist_add(words, json_string_value(item));
    }
}

void words_copy(const StrList *words, StrList *copy) {
    *copy = (StrList){0};
    for (size_t i = 0; i < words->count; i++)
        strlist_add(copy, words->items[i]);
}

static json_t *write_words(const void *at) {
    return words_to_json(at);
}

static void read_words(const json_t *json, void *at) {
    words_from_json(json, at);
}

static void free_words(void *at) {
    strlist_free(at);
}

static const RowType words_type = {write_words, read_words, free_words};

#define FIELD(kind, name) ROW_FIELD(kind, ImageConfig, name)
#define WORDS(name) ROW_TYPE_FIELD(ImageConfig, name, words_type)

static const RowField fields[] = {
    WORDS(entrypoint),
    WORDS(command),
    WORDS(env),
    WORDS(ports),
    FIELD(ROW_STRING, directory),
    FIELD(ROW_STRING, user),
    FIELD(ROW_INT, stop_signal),
    FIELD(ROW_JSON, labels),
    FIELD(ROW_BOOL, beside_init),
    FIELD(ROW_STRING, ready),
    FIELD(ROW_U64, ready_timeout_s),
};

json_t *image_config_to_json(const ImageConfig *config) {
    return row_fields_write(fields, ARRAY_SIZE(fields), config, NULL);
}

void image_config_from_json(const json_t *json, ImageConfig *config) {
    json_decref(row_fields_read(fields, ARRAY_SIZE(fields), config, json));
}

void image_config_copy(const ImageConfig *config, ImageConfig *copy) {
    *copy = *config;
    words_copy(&config->entrypoint, &copy->entrypoint);
    words_copy(&config->command, &copy->command);
    words_copy(&config->env, &copy->env);
    words_copy(&config->ports, &copy->ports);
    copy->directory = str_copy(config->directory);
    copy->user = str_copy(config->user);
    copy->ready = str_copy(config->ready);
    copy->labels = json_deep_copy(config->labels);
}

void image_config_free(ImageConfig *config) {
    row_fields_free(fields, ARRAY_SIZE(fields), config);
}

json_t *image_config_argv(const ImageConfig *config) {
    json_t *argv = words_to_json(&config->entrypoint), *rest = words_to_json(&config->command);
    (void)json_array_extend(argv, rest);
    json_decref(rest);
    if (json_array_size(argv) > 0)
        return argv;
    json_decref(argv);
    return NULL;
}

json_t *env_merge(json_t *list) {
    _cleanup_json_ json_t *by_name = json_object();
    json_t *merged = json_array(), *value;
    const char *name;
    size_t i;
    json_array_foreach(list, i, value) {
        const char *text = str_or_empty(json_string_value(value));
        size_t length = strcspn(text, "=");
        _cleanup_free_ char *key = malloc(2 * length + 1);
        if (!key)
            abort();
        hex_encode((const uint8_t *)text, length, key); /* a name may be any bytes */
        (void)json_object_set(by_name, key, value);
    }
    json_object_foreach(by_name, name, value) {
        (void)json_array_append(merged, value);
    }
    json_decref(list);
    return merged;
}
