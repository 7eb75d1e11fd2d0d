/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"

static int down_one(const Args *args, const char *lab, json_t **answer, Error *error) {
    return client_call(API_LAB_DOWN, lab, NULL, NULL, answer, error);
}

static int lab_down_run(const Args *args, Error *error) {
    return each_operand(args, down_one, false, error);
}

static const VerbOperand operands[] = {
    {"LAB", ARG_LAB, "name or id of a lab", 1, MANY},
    {.name = NULL},
};

const Verb verb_lab_down = {
    .name = "lab down",
    .aliases = "lab rm|lab remove",
    .summary = "end labs, and remove all of them",
    .operands = operands,
    .description = "Kills the VMs of each lab and removes them, its networks, and the lab. One "
                   "that is still coming up is made to give up.",
    .examples = "ramet lab down three",
    .flags = VERB_JSON,
    .run = lab_down_run,
};
