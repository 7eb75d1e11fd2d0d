/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_HTTP_CLIENT_H
#define RAMET_PROTO_API_HTTP_CLIENT_H

/* The client's side of the API: HTTP/1.1 (RFC 9112) over a unix socket. Own code, since libcurl
 * cannot upgrade a connection to a raw stream.
 *
 * One connection carries one request: connect, make one of the calls below, close. Everything that
 * comes from the server is bounded; what breaks HTTP or a bound is ERROR_CORRUPT. An answer that is
 * an error object ({"error":{code,message,hint}}) becomes that Error: its kind, message and hint
 * are the server's, and the call returns its negative errno.
 *
 *     _cleanup_close_ int fd = -1;
 *     _cleanup_json_ json_t *vm = NULL;
 *     r = http_connect(socket_path, &fd, error);
 *     HttpCall call = HTTP_CALL("GET", "/v1/vms/web1");
 *     r = http_call_json(fd, &call, &vm, error);
 */

#include "base/json.h"
#include "proto/api/http_body.h"

#define HTTP_HEADER_MAX (32u * 1024u)       /* status line and headers together */
#define HTTP_JSON_MAX (64u * 1024u * 1024u) /* a whole JSON answer */
#define HTTP_LINE_MAX (1024u * 1024u)       /* one line of a stream of events */

/* Called for each {"event":…} of a long operation, and for each line of http_call_lines. Borrowed.
 * A return other than 0 ends the call with that value. */
typedef int (*HttpLineHandler)(void *data, const json_t *line);

/* Called for each piece of a body. A return other than 0 ends the call with that value. */
typedef int (*HttpDataHandler)(void *data, const void *bytes, size_t size);

typedef struct HttpCall {
    const char *method;
    const char *path;   /* with the query; api_path() makes it */
    const json_t *body; /* NULL: none */
    int body_fd; /* -1, or the body: read from here to its end, as application/octet-stream */
    uint64_t deadline_usec; /* monotonic; UINT64_MAX: none */
    int cancel_fd; /* -1, or the call ends with -ECANCELED once it is readable or hung up */
    char *note; /* NULL, or gets (HTTP_NOTE_SIZE bytes) what http_call_data is told besides; "" */
    HttpLineHandler on_event; /* set: asks for application/x-ndjson */
    void *data;               /* for the handlers */
} HttpCall;

#define HTTP_CALL(method_, path_)            \
    ((HttpCall){.method = (method_),         \
                .path = (path_),             \
                .body_fd = -1,               \
                .deadline_usec = UINT64_MAX, \
                .cancel_fd = -1})

/* -ECONNREFUSED or -ENOENT: nobody listens there (error is set for these as well). */
int http_connect(const char *socket_path, int *fd, Error *error);

/* The JSON answer, or the "result" of a stream of events. answer may be NULL. */
int http_call_json(int fd, const HttpCall *call, json_t **answer, Error *error);

/* A stream of JSON lines without a result (GET /v1/events): each goes to call->on_event. Returns 0
 * at its end. */
int http_call_lines(int fd, const HttpCall *call, Error *error);

/* A body of bytes (logs): each piece goes to on_data. Returns 0 at its end. */
int http_call_data(int fd, const HttpCall *call, HttpDataHandler on_data, Error *error);

/* Asks for "Upgrade: ramet-stream". After success fd is the raw stream and its next byte is the
 * first one of the stream. */
int http_call_upgrade(int fd, const HttpCall *call, Error *error);

/* Percent-encodes all but unreserved characters (RFC 3986, section 2.3). The caller owns it. */
char *http_encode(const char *text);

/* The opposite, into decoded, which has room for size + 1 bytes. A NUL, which would cut the text
 * short, becomes a byte that fits no name. */
void http_decode(const char *text, size_t size, char *decoded);

#endif
