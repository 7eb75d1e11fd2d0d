/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_HTTP_CLIENT_H
#define RAMET_PROTO_HTTP_CLIENT_H

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

/* The parsers, for the tests and the fuzz target. */

typedef enum HttpBodyKind {
    HTTP_BODY_NONE,    /* 1xx, 204 */
    HTTP_BODY_LENGTH,  /* Content-Length */
    HTTP_BODY_CHUNKED, /* Transfer-Encoding: chunked */
    HTTP_BODY_UNTIL_EOF,
} HttpBodyKind;

typedef struct HttpHead {
    int status; /* 100 … 599 */
    HttpBodyKind body;
    uint64_t length_bytes; /* HTTP_BODY_LENGTH */
    bool upgraded;         /* 101 with "Upgrade: ramet-stream" */
    char content_type[64]; /* lower case, without parameters; "" when absent */
} HttpHead;

/* Parses a whole head, from the status line to the empty line. ERROR_CORRUPT for anything else. */
int http_parse_head(const char *text, size_t size, HttpHead *head, Error *error);

/* Decodes a body of the kind that `head` tells, in pieces as they come. */
typedef struct HttpBody {
    HttpHead head;
    uint64_t left;  /* of the length or of the chunk */
    unsigned state; /* of the chunk decoder */
    unsigned digits;
    size_t line_bytes; /* of the chunk header or trailer being read */
    bool done;
} HttpBody;
void http_body_start(HttpBody *body, const HttpHead *head);

/* Takes up to `size` bytes of `data`; returns how many it used (at least 1, unless done), and sets
 * *piece and *piece_size to the payload among them (a part of data, possibly empty).
 * ERROR_CORRUPT for a broken chunk. */
ssize_t http_body_next(HttpBody *body, const char *data, size_t size, const char **piece,
                       size_t *piece_size, Error *error);

/* The end of the connection: 0 when the body is whole, else ERROR_CORRUPT. */
int http_body_finish(HttpBody *body, Error *error);

#endif
