/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"

static int rm_one(const Args *args, const char *network, json_t **answer, Error *error) {
    return client_call(API_NETWORK_REMOVE, network, NULL, NULL, answer, error);
}

static int network_rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOperand operands[] = {
    {"NETWORK", ARG_NETWORK_NAME, "name of a network", 1, MANY},
    {.name = NULL},
};

const Verb verb_network_rm = {
    .name = "network rm",
    .aliases = "network remove|network delete",
    .summary = "remove networks",
    .operands = operands,
    .description = "Removes each network. One that a VM is in, running or not, is refused.",
    .examples = "ramet network rm lan",
    .flags = VERB_JSON,
    .run = network_rm_run,
};
