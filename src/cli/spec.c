/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec.h"

#include "base/clock.h"
#include "cli/arg_time.h"

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

json_t *spec_from_args(const Args *args, bool start) {
    json_t *spec = json_pack("{s:s, s:b}", "image", args->operands[0], "start", start);
    set_text(spec, "name", args_text(args, "name"));
    spec_add_networks(spec, args);
    add_texts(spec, args, "seed", "seeds");
    set_number(spec, "memory_bytes", args, "memory");
    set_number(spec, "disk_bytes", args, "disk");
    set_number(spec, "cpus", args, "cpus");
    set_text(spec, "hostname", args_text(args, "hostname"));
    set_text(spec, "net_limit", args_text(args, "net-limit"));
    spec_add_forwards(spec, args);
    if (args_given(args, "label"))
        json_object_set_new(spec, "labels", args_labels(args, "label"));
    json_object_set_new(spec, "env", args_env(args, "env"));
    wait_from_args(args, spec);
    policy_from_args(args, spec);
    if (args_flag(args, "rm"))
        json_object_set_new(spec, "remove", json_true());
    if (args_flag(args, "cold"))
        json_object_set_new(spec, "cold", json_true());
    return spec;
}
