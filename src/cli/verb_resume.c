/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

static int resume_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_RESUME, vm, NULL, answer, error);
}

static int resume_run(const Args *args, Error *error) {
    return each_operand(args, resume_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_resume = {
    .name = "resume",
    .summary = "let VMs in standby go on where they were",
    .operands = operands,
    .description = "Restores each VM that ramet-standby(1) saved. It is the same VM, with the same "
                   "identity; its clock is set, and its random pool gets fresh entropy.",
    .examples = "ramet resume web1",
    .flags = VERB_JSON,
    .run = resume_run,
};
