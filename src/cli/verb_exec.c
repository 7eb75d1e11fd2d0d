/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_in_vm.h"
#include "cli/verb_rows.h"

static int exec_run(const Args *args, Error *error) {
    return exec_in_vm(args, args->operands[0], error);
}

static const VerbOption options[] = {
    EXEC_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {"CMD", ARG_COMMAND, "program and arguments", 1, MANY},
    {.name = NULL},
};

const Verb verb_exec = {
    .name = "exec",
    .summary = "run a command in a running VM",
    .options = options,
    .operands = operands,
    .description =
        "Runs CMD in the VM. What it prints is printed here, and its exit status is the exit "
        "status. Standard input is passed on with --interactive only.\n"
        "\n"
        "INT, TERM, HUP and QUIT are passed on to CMD. When it has not ended five seconds later, "
        "or "
        "with a second one, ramet leaves with 128 + the signal's number, and CMD is ended.\n"
        "\n"
        "With --detach CMD runs on by itself and an id is printed. `ramet wait --exec ID VM` waits "
        "for its end, prints what it printed, of each output the last 256 KiB, and ends with its "
        "status. That can be done later, and again, until the VM ends; of 64 detached commands "
        "the oldest that has ended is forgotten first.\n"
        "\n"
        "With --json the document is {\"exit_status\",\"timed_out\",\"stdout\",\"stderr\"}, "
        "with --detach {\"id\"}; output that is no UTF-8 is {\"base64\"} there.",
    .examples = "ramet exec web1 -- ls -l /\n"
                "ramet exec -it web1 sh\n"
                "ramet exec --timeout 60 web1 -- apt-get update\n"
                "id=$(ramet exec -d web1 make); ramet wait --exec $id web1\n"
                "tar c folder | ramet exec -i -w /srv web1 tar x",
    .flags = VERB_JSON | VERB_COMMAND_STATUS,
    .run = exec_run,
};
