/* SPDX-License-Identifier: Apache-2.0 */

/* With the bounds that image/oci/oci_config.c has for what comes from a registry. */

#include "transfer/transfer_config.h"

#include <errno.h>
#include <string.h>

#include "archive/archive_member.h"
#include "base/str.h"

#define WORDS_MAX 4096
#define WORD_MAX 131071
#define TEXT_MAX 4095
#define SIGNAL_MAX 64
#define TIMEOUT_MAX ((uint64_t)30 * 86400)

static bool words_fit(const StrList *words) {
    for (size_t i = 0; i < words->count; i++)
        if (strlen(words->items[i]) > WORD_MAX)
            return false;
    return words->count <= WORDS_MAX;
}

static bool env_fits(const StrList *env) {
    for (size_t i = 0; i < env->count; i++)
        if (env->items[i][0] == '=' || !strchr(env->items[i], '='))
            return false;
    return words_fit(env);
}

static bool port_fits(const char *text) {
    size_t length = strcspn(text, "/");
    _cleanup_free_ char *number = strndup(text, length);
    uint64_t port;
    text += length;
    return number && parse_u64(number, 65535, &port) == 0 && port > 0 &&
           (!*text || str_equal(text, "/tcp") || str_equal(text, "/udp"));
}

static bool ports_fit(const StrList *ports) {
    for (size_t i = 0; i < ports->count; i++)
        if (!port_fits(ports->items[i]))
            return false;
    return ports->count <= WORDS_MAX;
}

static bool text_fits(const char *text) {
    return !text || strlen(text) <= TEXT_MAX;
}

static bool labels_fit(const json_t *labels) {
    const char *key;
    json_t *value;
    if (labels && !json_is_null(labels) && !json_is_object(labels))
        return false;
    json_object_foreach((json_t *)labels, key, value) if (!json_is_string(value)) return false;
    return json_object_size(labels) <= WORDS_MAX;
}

int transfer_config_check(const ImageConfig *config, Error *error) {
    if (words_fit(&config->entrypoint) && words_fit(&config->command) && env_fits(&config->env) &&
        ports_fit(&config->ports) && text_fits(config->directory) && text_fits(config->user) &&
        text_fits(config->ready) && config->stop_signal <= SIGNAL_MAX &&
        config->ready_timeout_s <= TIMEOUT_MAX && labels_fit(config->labels))
        return 0;
    return archive_manifest_damaged(error, "how the image is run");
}

int transfer_config_read(const json_t *json, json_t **settings, Error *error) {
    _cleanup_image_config_ ImageConfig config = {0};
    int r;
    *settings = NULL;
    if (!json || json_is_null(json))
        return 0;
    image_config_from_json(json, &config);
    r = transfer_config_check(&config, error);
    if (r >= 0)
        *settings = image_config_to_json(&config);
    return r;
}
