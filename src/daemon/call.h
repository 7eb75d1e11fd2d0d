/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_CALL_H
#define RAMET_DAEMON_CALL_H

/* One HTTP request, from its head to its answer: what server.c does not need to know of it. */

#include <microhttpd.h>

#include "base/str.h"
#include "daemon/request.h"

typedef struct Call {
    Request request;
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

/* NULL when out of memory. */
Call *call_new(Ramet *ramet, int stop_fd, gid_t group, struct MHD_Connection *connection,
               const char *version);
void call_free(Call *call);

/* 1. The head. What is wrong with it is remembered, and mostly not answered yet. */
enum MHD_Result call_begin(Call *call, const char *url, const char *method);

/* 2. A piece of the body. */
enum MHD_Result call_feed(Call *call, const char *data, size_t size);

/* 3. The end of the body. False: the call is not to be run, only to be answered. */
bool call_is_ready(Call *call);

/* Runs the handler in this thread, and answers. */
enum MHD_Result call_run(Call *call);

/* Answers with what went wrong, or with what the handler said. */
enum MHD_Result call_send_answer(Call *call);

#endif
