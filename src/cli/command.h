/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_COMMAND_H
#define RAMET_CLI_COMMAND_H

/* A command in a guest as `run`, `exec` and `shell` have it: its request, and the session that
 * shows it. */

#include "cli/args.h"
#include "cli/client_stream.h"

typedef struct Command {
    bool interactive; /* standard input goes to it */
    bool tty;
    bool json; /* gather its output and print one document */
    bool run;  /* the stream begins with events and READY */

    bool *left; /* set when a signal made us leave the command; may be NULL */

    /* As in ClientStream; may be NULL. */
    void (*on_event)(void *data, const json_t *event);
    void (*on_ready)(void *data, const json_t *vm);
    void *data;
} Command;

/* The exec request: argv, and -e, -w, -u and --timeout of args where the verb has them. The caller
 * owns it. */
json_t *command_request(const Args *args, char *const *argv, const Command *command);

#define COMMAND_TIMEOUT_MAX 31536000 /* a year */
#define COMMAND_TIMEOUT_OPTION                                                               \
    {                                                                                        \
        0, "timeout", ARG_NUMBER, "SECONDS",                                                 \
            .min = 1, .max = COMMAND_TIMEOUT_MAX,                                            \
            .help = "end the command after so many seconds: TERM to its process group, 2 s " \
                    "later KILL; the exit status is 124"                                     \
    }

/* Starts it without a client, and gives the answer: {"id"}. */
int command_detach(const char *vm, json_t *request, json_t **answer, Error *error);

/* {"/bin/sh", "-c", …}: the login shell of the user (a name or a number), or /bin/sh. argv has room
 * for COMMAND_SHELL_WORDS. */
#define COMMAND_SHELL_WORDS 6
void command_shell(const char *user, const char *argv[COMMAND_SHELL_WORDS]);

/* Runs it to its end over the upgraded socket. Returns its exit status; 128 + N when signal N made
 * us leave; or a negative errno as client_stream_run does. With json the document is
 * {"exit_status","timed_out","stdout","stderr"} and "vm" when `vm` (may be NULL) points to one at
 * the end. */
int command_run(int socket, const Command *command, json_t *const *vm, Error *error);

#endif
