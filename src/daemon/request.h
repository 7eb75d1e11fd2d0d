/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_REQUEST_H
#define RAMET_DAEMON_REQUEST_H

/* One request, as its handler sees it. */

#include "daemon/peer.h"
#include "daemon/response.h"
#include "home/home.h"
#include "home/operation.h"
#include "proto/api/api.h"

struct MHD_Connection;

typedef struct Request {
    Home *home;                        /* borrowed */
    int stop_fd;                       /* borrowed: see ServerOptions */
    struct MHD_Connection *connection; /* borrowed */
    const ApiOperation *row;
    char argument[API_ARGUMENT_MAX]; /* the {vm} or {image} of the path */
    json_t *input;                   /* owned: members of body and query; checked against the row */
    int upload_fd;                   /* owned: a body that was application/octet-stream; else -1 */
    Peer *peer;                      /* owned */
    Operation operation; /* cancel_fd is the client's socket: readable or hung up when it leaves */
    bool wants_lines;    /* Accept: application/x-ndjson */
    bool brings_lines;   /* Content-Type: application/x-ndjson */
    bool brings_tar;     /* Content-Type: application/x-tar */
    bool wants_upgrade;  /* Upgrade: ramet-stream */
    bool chunks;         /* the client knows HTTP/1.1 */
    const char *note;    /* for the client, in the head of a stream of a type; NULL: none */
    Response response;   /* open once the request took its socket */
    bool handed_over;    /* a keeper has the socket, and answers */
} Request;

/* A handler returns 0 with the answer (NULL: {}), or fills the error. A handler of a text, lines or
 * upgrade row that has opened the stream says everything there and returns 0 or an error, which is
 * then told there too. */
typedef int (*RequestHandler)(Request *request, json_t **answer, Error *error);

/* A member of the input; absent, or of another type, which the row does not allow: NULL, false,
 * `otherwise`. Borrowed. A list that is empty is NULL, too. */
const char *request_text(const Request *request, const char *name);
const json_t *request_list(const Request *request, const char *name);
uint64_t request_number(const Request *request, const char *name, uint64_t otherwise);
bool request_flag(const Request *request, const char *name);

/* Takes the client's socket from the HTTP library and opens the stream on it: as a chunked body of
 * that type, or (content_type NULL) as the client's stream after 101 Switching Protocols. From then
 * on the library speaks to a dead end. */
int request_open_stream(Request *request, const char *content_type, Error *error);

/* Takes the client's socket for somebody else, who will write the response; the caller owns *fd.
 * return_socket undoes that (and takes fd), so that the request can be answered here. */
int request_steal_socket(Request *request, int *fd, Error *error);
void request_return_socket(Request *request, int fd);

/* Runs the handler and says how it ended: on the stream when it is open or the socket was
 * handed over (then *answer is NULL and *status 0), else as a status and a document for the caller
 * to send. */
void request_run(Request *request, RequestHandler handler, unsigned *status, json_t **answer);

#endif
