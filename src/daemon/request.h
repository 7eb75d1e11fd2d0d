/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_REQUEST_H
#define RAMET_DAEMON_REQUEST_H

/* One request, as its handler sees it. */

#include "daemon/peer.h"
#include "daemon/stream.h"
#include "proto/api.h"
#include "vm/operation.h"
#include "vm/ramet.h"

struct MHD_Connection;

typedef struct Request {
    Ramet *ramet;                      /* borrowed */
    int stop_fd;                       /* borrowed: see ServerOptions */
    struct MHD_Connection *connection; /* borrowed */
    const ApiOperation *row;
    char argument[API_ARGUMENT_MAX]; /* the {vm} or {image} of the path */
    json_t *input;                   /* owned: members of body and query; checked against the row */
    int upload_fd;                   /* owned: a body that was application/octet-stream; else -1 */
    Peer *peer;                      /* owned */
    Operation operation; /* cancel_fd is the client's socket: readable or hung up when it leaves */
    bool wants_lines;    /* Accept: application/x-ndjson */
    bool wants_upgrade;  /* Upgrade: ramet-stream */
    bool chunks;         /* the client knows HTTP/1.1 */
    Stream stream;       /* open once the request took its socket */
} Request;

/* A handler returns 0 with the answer (NULL: {}), or fills the error. A handler of a text, lines or
 * upgrade row that has opened the stream says everything there and returns 0 or an error, which is
 * then told there too. */
typedef int (*RequestHandler)(Request *request, json_t **answer, Error *error);

/* Each row's handler: routes.c. Never NULL. */
RequestHandler request_handler(ApiId id);

/* Takes the client's socket from the HTTP library and opens the stream on it: as a chunked body of
 * that type, or (content_type NULL) as the client's stream after 101 Switching Protocols. From then
 * on the library speaks to a dead end. */
int request_open_stream(Request *request, const char *content_type, Error *error);

/* Runs the handler and says how it ended: on the stream when it is open (then *answer is NULL and
 * *status 0), else as a status and a document for the caller to send. */
void request_run(Request *request, unsigned *status, json_t **answer);

#endif
