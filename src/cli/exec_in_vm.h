/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_EXEC_IN_VM_H
#define RAMET_CLI_EXEC_IN_VM_H

/* A command in a VM as `exec` and `lab exec` have it. */

#include "cli/args.h"
#include "cli/command.h"

#define EXEC_OPTIONS                                                                               \
    {'i', "interactive", ARG_FLAG, .help = "pass standard input on to the command"},               \
        {'t', "tty", ARG_FLAG, .help = "give the command a terminal"},                             \
        {'e', "env", ARG_ENV, .many = true,                                                        \
         .help = "variable for the command; K alone takes the caller's value"},                    \
        {'w', "workdir", ARG_TEXT, "DIR", .help = "working folder of the command"},                \
        {'u', "user", ARG_TEXT, "USER", .help = "user, and optionally :group, by name or number"}, \
        COMMAND_TIMEOUT_OPTION, {                                                                  \
        'd', "detach", ARG_FLAG,                                                                   \
            .help = "leave it running, and print an id for `ramet wait --exec ID VM`"              \
    }

/* Runs the command of args. Returns its exit status, or a negative errno. */
int exec_in_vm(const Args *args, const char *vm, Error *error);

#endif
