/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

static int stop_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return each_post(API_VM_STOP, vm,
                     json_pack("{s:I}", "timeout_s", (json_int_t)args_number(args, "time", 30)),
                     answer, error);
}

static int stop_run(const Args *args, Error *error) {
    return each_operand(args, stop_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

static const VerbOption options[] = {
    {'t', "time", ARG_NUMBER, "SECONDS", .max = 86400,
     .help = "how long the guest may take (default 30)"},
    {.name = NULL},
};

const Verb verb_stop = {
    .name = "stop",
    .aliases = "shutdown|poweroff",
    .summary = "stop VMs in good order",
    .options = options,
    .operands = operands,
    .description =
        "Asks the guest of each VM to shut down: its agent, and where that does not answer and the "
        "machine has firmware, by its power button. When it has not done so in time the VM is "
        "ended as ramet-kill(1) does, and a note says so; one without firmware whose agent was "
        "found silent before gets 3 seconds. A VM that is stopped already is success.",
    .examples = "ramet stop -t 5 web1 web2",
    .flags = VERB_JSON,
    .run = stop_run,
};
