/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "cli/arg_time.h"
#include "cli/image_args.h"
#include "proto/ssh_line.h"

#define KEY_FILE_MAX 65536

static void set_text(json_t *spec, const char *key, const char *text) {
    if (text)
        json_object_set_new(spec, key, json_string(text));
}

static void set_number(json_t *spec, const char *key, const Args *args, const char *option) {
    if (args_given(args, option))
        json_object_set_new(spec, key, json_integer((json_int_t)args_number(args, option, 0)));
}

void wait_from_args(const Args *args, json_t *request) {
    set_text(request, "wait_for", args_text(args, "wait-for"));
    set_number(request, "wait_timeout_s", args, "wait-timeout");
}

static void set_msec(json_t *request, const char *key, const Args *args, const char *option) {
    uint64_t usec = 0;
    if (args_given(args, option) && duration_parse(args_text(args, option), &usec, NULL) == 0)
        json_object_set_new(request, key, json_integer((json_int_t)(usec / USEC_PER_MSEC)));
}

void policy_from_args(const Args *args, json_t *request) {
    set_msec(request, "ttl_ms", args, "ttl");
    set_text(request, "restart", args_text(args, "restart"));
    set_msec(request, "idle_standby_ms", args, "idle-standby");
}

void limits_from_args(const Args *args, json_t *request) {
    set_text(request, "cpu_limit", args_text(args, "cpu-limit"));
    set_text(request, "memory_limit", args_text(args, "memory-limit"));
    set_number(request, "pids_limit", args, "pids-limit");
    set_text(request, "io_limit", args_text(args, "io-limit"));
}

void spec_add_forwards(json_t *request, const Args *args) {
    json_t *forwards = json_array(), *forward;
    const char *text;
    for (size_t i = 0; (text = args_nth(args, "publish", i)); i++)
        if (forward_parse(text, &forward, NULL) == 0)
            json_array_append_new(forwards, forward);
    if (json_array_size(forwards) > 0)
        json_object_set_new(request, "forwards", forwards);
    else
        json_decref(forwards);
}

static void add_texts(json_t *request, const Args *args, const char *option, const char *member) {
    json_t *list = json_array();
    const char *text;
    for (size_t i = 0; (text = args_nth(args, option, i)); i++)
        json_array_append_new(list, json_string(text));
    if (json_array_size(list) > 0)
        json_object_set_new(request, member, list);
    else
        json_decref(list);
}

void spec_add_networks(json_t *request, const Args *args) {
    add_texts(request, args, "network", "networks");
}

/* A line of its own for each key; comments and empty lines are not. */
static int add_keys(json_t *keys, const char *path, char *text, Error *error) {
    char *rest = text, *line;
    size_t before = json_array_size(keys);
    while ((line = strsep(&rest, "\n"))) {
        line[strcspn(line, "\r")] = '\0';
        if (!*line || *line == '#')
            continue;
        int r = ssh_key_check_public(line, error);
        if (r < 0)
            return error_add_context(error, "%s", path);
        json_array_append_new(keys, json_string(line));
    }
    return json_array_size(keys) > before
               ? 0
               : error_set(error, ERROR_USAGE, ENODATA, "%s holds no public SSH key", path);
}

static int read_key(json_t *keys, const char *path, Error *error) {
    _cleanup_free_ char *text = NULL, *beside = NULL;
    int r = fd_read_file_at(AT_FDCWD, path, KEY_FILE_MAX, &text, NULL);
    if (r >= 0 && strstr(text, "PRIVATE KEY-----")) {
        explicit_bzero(text, strlen(text));
        free(text);
        text = NULL;
        path = beside = str_format("%s.pub", path);
        r = fd_read_file_at(AT_FDCWD, path, KEY_FILE_MAX, &text, NULL);
    }
    return r < 0 ? error_set_errno(error, -r, "cannot read %s", path)
                 : add_keys(keys, path, text, error);
}

int spec_add_ssh_keys(json_t *request, const Args *args, Error *error) {
    json_t *keys;
    const char *path;
    if (!args_given(args, "ssh-key"))
        return 0;
    keys = json_array();
    json_object_set_new(request, "ssh_keys", keys);
    for (size_t i = 0; (path = args_nth(args, "ssh-key", i)); i++) {
        int r = read_key(keys, path, error);
        if (r < 0)
            return r;
    }
    return 0;
}

int spec_add_config_disk(json_t *request, const Args *args, Error *error) {
    _cleanup_free_ char *path = NULL;
    int r;
    if (!args_given(args, "config-disk"))
        return 0;
    r = image_args_path(args_text(args, "config-disk"), &path, error);
    if (r >= 0)
        json_object_set_new(request, "config_disk", json_string(path));
    return r;
}

int spec_add_files(json_t *request, const Args *args, Error *error) {
    int r = spec_add_ssh_keys(request, args, error);
    return r < 0 ? r : spec_add_config_disk(request, args, error);
}

json_t *spec_from_args(const Args *args, bool start) {
    json_t *spec = json_pack("{s:s, s:b}", "image", args->operands[0], "start", start);
    set_text(spec, "name", args_text(args, "name"));
    spec_add_networks(spec, args);
    add_texts(spec, args, "seed", "seeds");
    add_texts(spec, args, "volume", "volumes");
    set_number(spec, "memory_bytes", args, "memory");
    set_number(spec, "disk_bytes", args, "disk");
    set_number(spec, "cpus", args, "cpus");
    set_text(spec, "hostname", args_text(args, "hostname"));
    set_text(spec, "machine", args_text(args, "machine"));
    set_text(spec, "net_limit", args_text(args, "net-limit"));
    spec_add_forwards(spec, args);
    if (args_given(args, "label"))
        json_object_set_new(spec, "labels", args_labels(args, "label"));
    json_object_set_new(spec, "env", args_env(args, "env"));
    wait_from_args(args, spec);
    policy_from_args(args, spec);
    limits_from_args(args, spec);
    if (args_flag(args, "rm"))
        json_object_set_new(spec, "remove", json_true());
    if (args_flag(args, "cold"))
        json_object_set_new(spec, "cold", json_true());
    return spec;
}
