/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_EXEC_H
#define RAMET_AGENT_SESSION_EXEC_H

#include <limits.h>

#include "agent/session/request_stream.h"

/* A command as FRAME_EXEC asks for it. */
typedef struct ExecRequest {
    char *text;  /* owned: all strings, one after the other */
    char **argv; /* owned array of pointers into text, NULL at the end */
    char **env;  /* likewise; base variables are added by exec_start */
    size_t n_args;
    size_t n_env;
    const char *directory; /* into text, or "/" */
    const char *user;      /* into text, or "" */
    bool tty;
    uint16_t rows;
    uint16_t columns;
    uint64_t flags; /* ExecFlags */
} ExecRequest;

/* How long the request is that follows as DATA; 0: this is the request itself. */
size_t exec_announced(const void *payload, size_t size);

/* Parses the TLV payload. 0, -EBADMSG, -EINVAL (no command), -E2BIG, -ENOMEM. */
int exec_parse(const void *payload, size_t size, ExecRequest *request, Result *result);
void exec_request_free(ExecRequest *request);

/* Starts the command; the stream then has its pid and descriptors. When the command itself cannot
 * be started (not found, not executable) it returns 0 too, with *exit_code 127 or 126 and the
 * reason in `message`, as a shell would say it. Otherwise *exit_code is -1. */
int exec_start(Stream *stream, const ExecRequest *request, int *exit_code, char *message,
               size_t message_room, Result *result);

/* Writes to the console what nobody reads elsewhere. */
void exec_tell_console(const char *text);

/* FRAME_TTY_RESIZE and FRAME_SIGNAL. */
void exec_resize(const Stream *stream, uint16_t rows, uint16_t columns);
void exec_signal(const Stream *stream, int number);

/* Reads whether children must shed the agent's own protection from the OOM killer. */
void exec_prepare(void);

/* In a child: gives the kernel no reason to spare it when memory is out. System calls only. */
void exec_reset_oom_score(void);

#endif
