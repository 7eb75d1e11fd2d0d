/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

static int unpause_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_UNPAUSE, vm, NULL, answer, error);
}

static int unpause_run(const Args *args, Error *error) {
    return each_operand(args, unpause_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_unpause = {
    .name = "unpause",
    .aliases = "continue",
    .summary = "let paused VMs go on",

    .operands = operands,
    .description = "Lets the virtual CPUs of each paused VM run again.",
    .examples = "ramet unpause web1",
    .flags = VERB_JSON,
    .run = unpause_run,
};
