/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *network, json_t **answer, Error *error) {
    int r = client_call(API_NETWORK_INSPECT, network, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int network_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"NETWORK", ARG_NETWORK_NAME, "name of a network", 1, MANY},
    {.name = NULL},
};

const Verb verb_network_inspect = {
    .name = "network inspect",
    .aliases = "network show",
    .summary = "show all about networks",
    .operands = operands,
    .description = "Shows everything that is known of each network, and the VMs that have an "
                   "address in it. --json gives one object for one network, a list for several.",
    .examples = "ramet network inspect lan",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = network_inspect_run,
};
