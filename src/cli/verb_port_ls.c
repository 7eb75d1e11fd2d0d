/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verb_rows.h"

/* [{"vm","host_ip","host_port","guest_port","protocol"}] of one VM, added. */
static void add_ports(json_t *list, const json_t *vm) {
    const json_t *forward;
    size_t i;
    json_array_foreach(json_object_get(vm, "forwards"), i, forward) {
        json_t *port = json_deep_copy(forward);
        json_object_set(port, "vm", json_object_get(vm, "name"));
        json_array_append_new(list, port);
    }
}

static int fetch(const Args *args, json_t *list, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    const json_t *vm;
    size_t i;
    int r = args->n_operands > 0
                ? client_call(API_VM_INSPECT, args->operands[0], NULL, NULL, &answer, error)
                : client_call(API_VM_LIST, NULL, "all=1", NULL, &answer, error);
    if (r < 0)
        return r;
    if (json_is_object(answer))
        add_ports(list, answer);
    json_array_foreach(answer, i, vm) add_ports(list, vm);
    return 0;
}

static void add_row(Table *table, const json_t *port) {
    _cleanup_free_ char *vm = output_member(port, "vm");
    _cleanup_free_ char *ip = output_member(port, "host_ip");
    _cleanup_free_ char *host = output_member(port, "host_port");
    _cleanup_free_ char *guest = output_member(port, "guest_port");
    _cleanup_free_ char *protocol = output_member(port, "protocol");
    table_add(table, (const char *[]){vm, ip, host, guest, protocol});
}

static int port_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"VM", "IP", ">HOST", ">GUEST", "PROTOCOL", NULL};
    _cleanup_(table_free_p) Table *table = NULL;
    _cleanup_json_ json_t *list = json_array();
    const json_t *port;
    size_t i;
    int r = fetch(args, list, error);
    if (r < 0)
        return r;
    if (args->json)
        return output_json(list, error);
    table = table_new(stdout, columns);
    json_array_foreach(list, i, port) add_row(table, port);
    table_print(table);
    return output_flush(error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM; all VMs when absent", 0, 1},
    {.name = NULL},
};

const Verb verb_port_ls = {
    .name = "port ls",
    .aliases = "ports|port list",
    .summary = "list ports of this host that lead to VMs",
    .operands = operands,
    .description = "Lists the ports of this host that lead to a VM, or to any. --json gives a list "
                   "of {\"vm\",\"host_ip\",\"host_port\",\"guest_port\",\"protocol\"}.",
    .examples = "ramet port ls web1",
    .flags = VERB_JSON,
    .run = port_ls_run,
};
