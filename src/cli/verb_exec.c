/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/verbs.h"

static int exec_run(const Args *args, Error *error) {
    Command command = {.interactive = args_flag(args, "interactive"),
                       .tty = args_flag(args, "tty"),
                       .json = args->json};
    _cleanup_json_ json_t *request = command_request(args, args->command, &command);
    _cleanup_close_ int fd = -1;
    int r = client_upgrade(API_VM_EXEC, args->operands[0], request, &fd, error);

    return r < 0 ? r : command_run(fd, &command, NULL, error);
}

static const VerbOption options[] = {
    {'i', "interactive", ARG_FLAG, .help = "pass standard input on to the command"},
    {'t', "tty", ARG_FLAG, .help = "give the command a terminal"},
    {'e', "env", ARG_ENV, .many = true,
     .help = "variable for the command; K alone takes the caller's value"},
    {'w', "workdir", ARG_TEXT, "DIR", .help = "working folder of the command"},
    {'u', "user", ARG_TEXT, "USER", .help = "user, and optionally :group, by name or number"},
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
        "status. Standard input is passed on with --interactive only. INT, TERM, HUP and QUIT are "
        "passed on to CMD; the third of them leaves at once.\n"
        "\n"
        "With --json the document is {\"exit_status\",\"stdout\",\"stderr\"}.",
    .examples = "ramet exec web1 -- ls -l /\n"
                "ramet exec -it web1 sh\n"
                "tar c folder | ramet exec -i -w /srv web1 tar x",
    .flags = VERB_JSON | VERB_COMMAND_STATUS,
    .run = exec_run,
};
