/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec.h"

static void set_text(json_t *spec, const char *key, const char *text) {
    if (text)
        json_object_set_new(spec, key, json_string(text));
}

static void set_number(json_t *spec, const char *key, const Args *args, const char *option) {
    if (args_given(args, option))
        json_object_set_new(spec, key, json_integer((json_int_t)args_number(args, option, 0)));
}

json_t *spec_from_args(const Args *args, bool start) {
    json_t *spec = json_pack("{s:s, s:b}", "image", args->operands[0], "start", start);
    json_t *forwards = json_array(), *forward;
    const char *text;

    set_text(spec, "name", args_text(args, "name"));
    set_text(spec, "network", args_text(args, "network"));
    set_number(spec, "memory_bytes", args, "memory");
    set_number(spec, "disk_bytes", args, "disk");
    set_number(spec, "cpus", args, "cpus");
    for (size_t i = 0; (text = args_nth(args, "publish", i)); i++)
        if (forward_parse(text, &forward, NULL) == 0)
            json_array_append_new(forwards, forward);
    json_object_set_new(spec, "forwards", forwards);
    json_object_set_new(spec, "env", args_env(args, "env"));
    if (args_flag(args, "rm"))
        json_object_set_new(spec, "remove", json_true());
    if (args_flag(args, "cold"))
        json_object_set_new(spec, "cold", json_true());
    return spec;
}
