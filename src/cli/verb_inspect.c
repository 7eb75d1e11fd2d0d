/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    int r = client_call(API_VM_INSPECT, vm, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_inspect = {
    .name = "inspect",
    .aliases = "show",
    .summary = "show all about VMs",
    .operands = operands,
    .description = "Shows everything that is known of each VM: its state, image, processes, "
                   "addresses, disk, memory, and the stages of its last start. --json gives one "
                   "object for one VM, a list for several.",
    .examples = "ramet inspect web1\nramet inspect --json web1 | jq .disk",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = inspect_run,
};
