/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *lab, json_t **answer, Error *error) {
    int r = client_call(API_LAB_INSPECT, lab, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int lab_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"LAB", ARG_LAB, "name or id of a lab", 1, MANY},
    {.name = NULL},
};

const Verb verb_lab_inspect = {
    .name = "lab inspect",
    .aliases = "lab show",
    .summary = "show all about labs",
    .operands = operands,
    .description = "Shows the networks and VMs of each lab. `name` is what its file calls them, "
                   "`network` and `vm` what other verbs do. --json gives one object for one lab, "
                   "a list for several.",
    .examples = "ramet lab inspect three",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = lab_inspect_run,
};
