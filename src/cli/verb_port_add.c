/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* The forward that came last is the new one; its port may have been chosen. */
static char *describe_added(const json_t *vm) {
    const json_t *list = json_object_get(vm, "forwards");
    const json_t *added = json_array_get(list, json_array_size(list) - 1);
    return str_format("%s:%lld->%lld/%s", json_string_value(json_object_get(added, "host_ip")),
                      (long long)json_integer_value(json_object_get(added, "host_port")),
                      (long long)json_integer_value(json_object_get(added, "guest_port")),
                      json_string_value(json_object_get(added, "protocol")));
}

static int port_add_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *forward = NULL, *vm = NULL;
    _cleanup_free_ char *line = NULL;
    int r = forward_parse(args->operands[1], &forward, error);
    if (r >= 0)
        r = client_call(API_VM_PORT_ADD, args->operands[0], NULL, forward, &vm, error);
    if (r < 0)
        return r;
    line = describe_added(vm);
    return output_json_or_line(args, vm, line, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {"PORT", ARG_FORWARD, "[IP:]HOST:GUEST[/udp]", 1, 1},
    {.name = NULL},
};

const Verb verb_port_add = {
    .name = "port add",
    .summary = "lead a port of this host to a VM",
    .operands = operands,
    .description = "Leads a port of this host to a VM, as --publish of run and create does: at "
                   "once where it runs, and at all its further starts. IP is 127.0.0.1 when "
                   "absent; HOST 0 takes any free port, which is printed.",
    .examples = "ramet port add web1 8080:80\n"
                "ramet port add dns 0.0.0.0:5353:53/udp",
    .flags = VERB_JSON,
    .run = port_add_run,
};
