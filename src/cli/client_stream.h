/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_CLIENT_STREAM_H
#define RAMET_CLI_CLIENT_STREAM_H

/* The client's end of the stream that an upgrade opens (docs/protocols.md, "The client's stream"):
 * input and output of a command or of a copy, its signals and its end. */

#include <stdbool.h>

#include "base/json.h"

typedef struct ClientStream {
    int socket;       /* borrowed: the upgraded connection */
    int in_fd;        /* borrowed: what goes to the other end; -1: nothing */
    int out_fd;       /* borrowed: where DATA goes */
    int err_fd;       /* borrowed: where DATA_ERR goes */
    bool run;         /* READY comes before the command starts */
    bool signals;     /* catch INT, TERM, HUP and QUIT, and pass them on */
    bool half_closes; /* EOF of the other end closes out_fd, whose number is /dev/null then */
    int resize_fd;    /* terminal whose size is passed on; -1: none */

    /* Both may be NULL. Objects are borrowed. */
    void (*on_event)(void *data, const json_t *event);
    void (*on_ready)(void *data, const json_t *vm);
    void (*on_data)(void *data, uint64_t bytes); /* moved so far, in either direction */
    void *data;
} ClientStream;

#define CLIENT_STREAM_INIT \
    ((ClientStream){.socket = -1, .in_fd = -1, .out_fd = -1, .err_fd = -1, .resize_fd = -1})

typedef enum ClientStreamEndKind {
    CLIENT_STREAM_EXIT, /* the command ended: status */
    CLIENT_STREAM_DONE, /* the copy ended well */
} ClientStreamEndKind;

typedef struct ClientStreamEnd {
    ClientStreamEndKind kind;
    int status;
    uint64_t timed_out; /* TimedOut of proto/agent.h, when the status is 124 for that; else 0 */
} ClientStreamEnd;

/* Runs until its end. Returns 0, or
 *   the server's error (an ERROR frame, or a RESULT that tells of one);
 *   -ECANCELED: a signal came before READY, or for the second time, or some seconds ago, and the
 *   other end does not end; *signal is its number;
 *   -EPIPE: nobody reads the output;
 *   -ECONNRESET: the stream broke off. */
int client_stream_run(const ClientStream *stream, ClientStreamEnd *end, int *signal, Error *error);

#endif
