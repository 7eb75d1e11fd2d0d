/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_CALL_H
#define RAMET_DAEMON_CALL_H

/* One HTTP request, from its head to its answer: what server.c does not need to know of it. */

#include <microhttpd.h>

#include "base/str.h"
#include "daemon/request.h"

#define CALL_BODY_MAX (16u << 20) /* a JSON request: 2 MiB of arguments, encoded */
#define CALL_SLOW_CLIENT_S 60     /* without a byte while a request is awaited or read */

typedef struct Call {
    Request request;
    bool begun;      /* the head was seen */
    char *path;      /* owned: as the client sent it, without query */
    gid_t group;     /* whose members may use the daemon, beside root and its own user */
    unsigned status; /* 0, or what went wrong before the handler */
    json_t *answer;  /* owned */
    char allow[64];
    StrBuf body;
    uint64_t dropped_bytes;
    bool is_upload;
    int socket; /* owned: for a cancel by another thread; -1 until the call is ready */
    bool listed;
    struct Call *previous, *next; /* the server's */
} Call;

/* For what a request line asks. NULL when out of memory. */
Call *call_new(Home *home, int stop_fd, gid_t group, struct MHD_Connection *connection,
               const char *uri);
void call_free(Call *call);

/* 1. The head. What is wrong with it is remembered, and mostly not answered yet. */
enum MHD_Result call_begin(Call *call, const char *method, const char *version);

/* 2. A piece of the body. */
enum MHD_Result call_feed(Call *call, const char *data, size_t size);

/* 3. The end of the body. False: the call is not to be run, only to be answered. */
bool call_is_ready(Call *call);

/* Runs the handler in this thread, and answers. */
enum MHD_Result call_run(Call *call);

/* Answers with what went wrong, or with what the handler said. */
enum MHD_Result call_send_answer(Call *call);

#endif
