/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

static int standby_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_STANDBY, vm, NULL, answer, error);
}

static int standby_run(const Args *args, Error *error) {
    return each_operand(args, standby_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_standby = {
    .name = "standby",
    .summary = "save VMs and end their processes",
    .operands = operands,
    .description = "Saves memory and devices of each VM and ends its process. The VM keeps its "
                   "name, address and disk, and takes no memory; ramet-resume(1) lets it go on "
                   "where it was. ramet-stop(1) discards what was saved.",
    .examples = "ramet standby web1",
    .flags = VERB_JSON,
    .run = standby_run,
};
