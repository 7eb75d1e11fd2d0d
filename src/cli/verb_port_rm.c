/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* HOST[/udp|/tcp] as the call's query, the caller's. */
static int make_query(const char *text, char **query, Error *error) {
    _cleanup_free_ char *digits = str_format("%.*s", (int)strcspn(text, "/"), text);
    const char *protocol = strchr(text, '/');
    uint64_t port;
    protocol = protocol ? protocol + 1 : "tcp";
    if (parse_u64(digits, UINT16_MAX, &port) < 0 || port == 0 ||
        (!str_equal(protocol, "tcp") && !str_equal(protocol, "udp")))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "port rm: \"%.40s\" is no port of the host, such as 8080 or 5353/udp",
                         text);
    *query = str_format("host_port=%llu&protocol=%s", (unsigned long long)port, protocol);
    return 0;
}

static int port_rm_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_free_ char *query = NULL;
    int r = make_query(args->operands[1], &query, error);
    if (r >= 0)
        r = client_call(API_VM_PORT_REMOVE, args->operands[0], query, NULL, &vm, error);
    return r < 0 ? r : output_json_or_line(args, vm, args->operands[1], error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {"HOST", ARG_TEXT, "the host's port, or HOST/udp", 1, 1},
    {.name = NULL},
};

const Verb verb_port_rm = {
    .name = "port rm",
    .aliases = "port remove|port delete",
    .summary = "lead a port of this host to a VM no more",
    .operands = operands,
    .description = "Takes a port back that leads to a VM. Connections that are there go on.",
    .examples = "ramet port rm web1 8080",
    .flags = VERB_JSON,
    .run = port_rm_run,
};
