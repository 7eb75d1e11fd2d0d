/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

static int kill_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_KILL, vm, NULL, answer, error);
}

static int kill_run(const Args *args, Error *error) {
    return each_operand(args, kill_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_kill = {
    .name = "kill",
    .summary = "end VMs at once",

    .operands = operands,
    .description =
        "Ends each VM at once, as pulling the plug would. What the guest had not written is "
        "lost; ramet-stop(1) ends it in good order.",
    .examples = "ramet kill web1",
    .flags = VERB_JSON,
    .run = kill_run,
};
