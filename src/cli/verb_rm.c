/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verbs.h"

static int rm_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return client_call(API_VM_REMOVE, vm, args_flag(args, "force") ? "force=1" : NULL, NULL, answer,
                       error);
}

static int rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOption options[] = {
    {'f', "force", ARG_FLAG, .help = "end it first when it runs"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_rm = {
    .name = "rm",
    .summary = "remove VMs and their disks",
    .options = options,
    .operands = operands,
    .description = "Removes each VM with its disk overlay and its logs. One that runs is refused "
                   "unless --force is given. Goes on after an error; the first one decides the "
                   "exit status.",
    .examples = "ramet rm -f web1 web2",
    .flags = VERB_JSON,
    .run = rm_run,
};
