/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_in_vm.h"
#include "cli/verb_rows.h"

static int lab_exec_run(const Args *args, Error *error) {
    _cleanup_free_ char *vm = str_format("%s/%s", args->operands[0], args->operands[1]);
    return exec_in_vm(args, vm, error);
}

static const VerbOption options[] = {
    EXEC_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"LAB", ARG_LAB, "name of a lab", 1, 1},
    {"VM", ARG_NAME, "what the lab calls the VM", 1, 1},
    {"CMD", ARG_COMMAND, "program and arguments", 1, MANY},
    {.name = NULL},
};

const Verb verb_lab_exec = {
    .name = "lab exec",
    .summary = "run a command in a VM of a lab",
    .options = options,
    .operands = operands,
    .description = "The same as `ramet exec LAB/VM CMD`: runs CMD in the VM, prints what it "
                   "prints, and ends with its exit status. See ramet-exec(1).",
    .examples = "ramet lab exec three web -- ip route\n"
                "ramet lab exec -it three web -- sh",
    .flags = VERB_JSON | VERB_COMMAND_STATUS,
    .run = lab_exec_run,
};
