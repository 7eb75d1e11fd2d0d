/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/verb_rows.h"

static int shell_run(const Args *args, Error *error) {
    const char *user = args_text(args, "user");
    Command command = {.interactive = true, .tty = isatty(STDIN_FILENO)};
    const char *argv[COMMAND_SHELL_WORDS];
    _cleanup_json_ json_t *request = NULL;
    _cleanup_free_ char *name =
        str_format("%.*s", user ? (int)strcspn(user, ":") : 0, user ? user : "");
    _cleanup_close_ int fd = -1;
    int r;
    command_shell(user ? name : "0", argv);
    request = command_request(args, (char *const *)argv, &command);
    r = client_upgrade(API_VM_EXEC, args->operands[0], request, &fd, error);
    return r < 0 ? r : command_run(fd, &command, NULL, error);
}

static const VerbOption options[] = {
    {'e', "env", ARG_ENV, .many = true, .help = "variable for the shell"},
    {'w', "workdir", ARG_TEXT, "DIR", .help = "working folder"},
    {'u', "user", ARG_TEXT, "USER", .help = "user, and optionally :group, by name or number"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {.name = NULL},
};

const Verb verb_shell = {
    .name = "shell",
    .aliases = "ssh|enter",
    .summary = "open a shell in a running VM",
    .options = options,
    .operands = operands,
    .description = "Runs the login shell of the user (root by default) as /etc/passwd of the VM "
                   "names it, or /bin/sh, with a terminal when standard input is one. The exit "
                   "status is the shell's; 125 when ramet itself failed.",
    .examples = "ramet shell web1\nramet shell -u www-data web1",
    .flags = VERB_COMMAND_STATUS,
    .run = shell_run,
};
