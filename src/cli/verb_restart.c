/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verbs.h"
#include "proto/api.h"

static int restart_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_RESTART, vm, json_pack("{s:b}", "cold", args_flag(args, "cold")),
                     answer, error);
}

static int restart_run(const Args *args, Error *error) {
    return each_operand(args, restart_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

static const VerbOption options[] = {
    {0, "cold", ARG_FLAG, .help = "boot, and do not restore"},
    {.name = NULL},
};

const Verb verb_restart = {
    .name = "restart",
    .summary = "stop VMs and start them again",
    .options = options,
    .operands = operands,
    .description =
        "Stops each VM in good order where it runs, starts it, and returns once it is ready.",
    .examples = "ramet restart web1",
    .flags = VERB_JSON,
    .run = restart_run,
};
