/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "image/oci/oci_manifest.h"
#include "image/oci/oci_parts.h"

#define WORDS_MAX 4096
#define WORD_MAX 131071 /* one argument or variable, as execve(2) has it */
#define PORTS_MAX 1024
#define VOLUMES_MAX 1024
#define TEXT_MAX 4095

/* signal(7), x86-64. */
static const char *const SIGNALS[] = {
    NULL,   "HUP",  "INT",  "QUIT", "ILL",    "TRAP",   "ABRT",  "BUS",  "FPE",  "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM",   "STKFLT", "CHLD",  "CONT", "STOP", "TSTP", "TTIN",
    "TTOU", "URG",  "XCPU", "XFSZ", "VTALRM", "PROF",   "WINCH", "IO",   "PWR",  "SYS",
};

int oci_signal_number(const char *name) {
    uint64_t number;
    if (parse_u64(name, 64, &number) == 0)
        return (int)number;
    if (str_has_prefix(name, "SIG"))
        name += 3;
    for (size_t i = 1; i < ARRAY_SIZE(SIGNALS); i++)
        if (str_equal(name, SIGNALS[i]))
            return (int)i;
    if (str_has_prefix(name, "RTMIN+") && parse_u64(name + 6, 30, &number) == 0)
        return 34 + (int)number;
    return 0;
}

/* A list of words without NULs; null and absent are empty. */
static int read_words(const json_t *config, const char *key, json_t *settings, const char *name,
                      Error *error) {
    json_t *list = json_object_get(config, key);
    const json_t *word;
    size_t i;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > WORDS_MAX)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s of its configuration is no list", key);
    json_array_foreach(list, i, word) {
        const char *text = json_string_value(word);
        if (!text || strlen(text) != json_string_length(word) || strlen(text) > WORD_MAX)
            return error_set(error, ERROR_CORRUPT, EBADMSG, "%s of its configuration is no text",
                             key);
        if (str_equal(key, "Env") && (!strchr(text, '=') || text[0] == '='))
            return error_set(error, ERROR_CORRUPT, EBADMSG,
                             "a variable of its configuration has no name");
    }
    (void)json_object_set(settings, name, list);
    return 0;
}

static int read_text(const json_t *config, const char *key, json_t *settings, const char *name,
                     Error *error) {
    const json_t *value = json_object_get(config, key);
    const char *text = json_string_value(value);
    if (!value || json_is_null(value) || (text && !*text))
        return 0;
    if (!text || strlen(text) != json_string_length(value) || strlen(text) > TEXT_MAX)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s of its configuration is no text", key);
    (void)json_object_set_new(settings, name, json_string(text));
    return 0;
}

/* "80/tcp", "53/udp", "80"; others (sctp, ranges) are left out. */
static int read_ports(const json_t *config, json_t *settings, Error *error) {
    json_t *ports = json_object_get(config, "ExposedPorts"), *list = json_array(), *value;
    const char *key;
    if (json_object_size(ports) > PORTS_MAX) {
        json_decref(list);
        return oci_bad("its configuration exposes too many ports", error);
    }
    json_object_foreach(ports, key, value) {
        size_t length = strcspn(key, "/");
        const char *protocol = key[length] ? key + length + 1 : "tcp";
        _cleanup_free_ char *number = strndup(key, length);
        uint64_t port;
        if (number && parse_u64(number, 65535, &port) == 0 && port > 0 &&
            (str_equal(protocol, "tcp") || str_equal(protocol, "udp"))) {
            _cleanup_free_ char *text = str_format("%u/%s", (unsigned)port, protocol);
            json_array_append_new(list, json_string(text));
        }
    }
    (void)json_object_set_new(settings, "ports", list);
    return 0;
}

static int read_volumes(const json_t *config, StrList *volumes, Error *error) {
    json_t *list = json_object_get(config, "Volumes"), *value;
    const char *path;
    if (json_object_size(list) > VOLUMES_MAX)
        return oci_bad("its configuration has too many volumes", error);
    json_object_foreach(list, path, value) {
        if (*path && strlen(path) <= TEXT_MAX)
            strlist_add(volumes, path);
    }
    return 0;
}

static int read_signal(const json_t *config, json_t *settings, Error *error) {
    const char *name = json_string_value(json_object_get(config, "StopSignal"));
    int number = name && *name ? oci_signal_number(name) : 0;
    if (name && *name && number == 0)
        return oci_bad("its configuration names a signal to stop it that there is not", error);
    if (number)
        (void)json_object_set_new(settings, "stop_signal", json_integer(number));
    return 0;
}

static int read_settings(const json_t *config, OciConfig *made, Error *error) {
    int r = read_words(config, "Entrypoint", made->settings, "entrypoint", error);
    if (r >= 0)
        r = read_words(config, "Cmd", made->settings, "command", error);
    if (r >= 0)
        r = read_words(config, "Env", made->settings, "env", error);
    if (r >= 0)
        r = read_text(config, "WorkingDir", made->settings, "directory", error);
    if (r >= 0)
        r = read_text(config, "User", made->settings, "user", error);
    if (r >= 0)
        r = read_ports(config, made->settings, error);
    if (r >= 0)
        r = read_volumes(config, &made->volumes, error);
    if (r >= 0)
        r = read_signal(config, made->settings, error);
    if (r >= 0 && json_is_object(json_object_get(config, "Labels")))
        (void)json_object_set(made->settings, "labels", json_object_get(config, "Labels"));
    return r;
}

static int read_decoded(const json_t *json, OciConfig *made, Error *error) {
    const json_t *list = json_object_get(json_object_get(json, "rootfs"), "diff_ids"), *item;
    size_t i;
    int r = 0;
    if (!json_is_array(list) || json_array_size(list) > OCI_LAYERS_MAX)
        return oci_bad("its configuration does not list its layers", error);
    made->decoded = calloc(json_array_size(list) + 1, sizeof(*made->decoded));
    if (!made->decoded)
        abort();
    json_array_foreach(list, i, item) {
        if (r >= 0)
            r = oci_read_digest(json_string_value(item), made->decoded[made->n_decoded++], error);
    }
    return r;
}

int oci_config_parse(const char *text, size_t size, OciConfig *config, Error *error) {
    OciConfig made = {.settings = json_object()};
    _cleanup_json_ json_t *json = NULL;
    int r = oci_read_json("the configuration", text, size, &json, error);
    if (r >= 0)
        r = read_decoded(json, &made, error);
    if (r >= 0)
        r = read_settings(json_object_get(json, "config"), &made, error);
    if (r < 0) {
        oci_config_free(&made);
        return r;
    }
    str_set(made.platform.os, str_or_empty(json_string_value(json_object_get(json, "os"))));
    str_set(made.platform.architecture,
            str_or_empty(json_string_value(json_object_get(json, "architecture"))));
    str_set(made.platform.variant,
            str_or_empty(json_string_value(json_object_get(json, "variant"))));
    *config = made;
    return 0;
}

void oci_config_free(OciConfig *config) {
    free(config->decoded);
    json_decref(config->settings);
    strlist_free(&config->volumes);
    *config = (OciConfig){0};
}
