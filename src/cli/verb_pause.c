/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

static int pause_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_PAUSE, vm, NULL, answer, error);
}

static int pause_run(const Args *args, Error *error) {
    return each_operand(args, pause_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_pause = {
    .name = "pause",
    .summary = "halt the CPUs of VMs",

    .operands = operands,
    .description =
        "Halts the virtual CPUs of each VM. Its memory and devices stay; ramet-unpause(1) lets it "
        "go on.",
    .examples = "ramet pause web1",
    .flags = VERB_JSON,
    .run = pause_run,
};
