/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "cli/vm_names.h"

static int rm_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return client_call(API_VM_REMOVE, vm, args_flag(args, "force") ? "force=1" : NULL, NULL, answer,
                       error);
}

static int rm_run(const Args *args, Error *error) {
    _cleanup_(strlist_free) StrList names = {0};
    Args expanded;
    int r = vm_names_expand(args, &names, &expanded, error);
    return r < 0 ? r : each_operand(&expanded, rm_one, false, error);
}

static const VerbOption options[] = {
    {'f', "force", ARG_FLAG, .help = "end it first when it runs"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM_PATTERN, "name or id of a VM, or a pattern of names with * ? [ ]", 1, MANY},
    {.name = NULL},
};

const Verb verb_rm = {
    .name = "rm",
    .aliases = "remove|delete",
    .summary = "remove VMs and their disks",
    .options = options,
    .operands = operands,
    .description = "Removes each VM with its disk overlay and its logs. One that runs is refused "
                   "unless --force is given. Goes on after an error; the first one decides the "
                   "exit status.\n"
                   "\n"
                   "A pattern stands for all VMs whose name it fits; quote it, so that the shell "
                   "leaves it alone.",
    .examples = "ramet rm -f web1 web2\nramet rm -f 'ci-*'",
    .flags = VERB_JSON,
    .run = rm_run,
};
