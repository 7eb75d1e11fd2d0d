/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_HTTP_BODY_H
#define RAMET_PROTO_API_HTTP_BODY_H

/* The parsers of what a server sends. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

#define HTTP_NOTE_SIZE 256 /* of the header Ramet-Note */

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
    char note[HTTP_NOTE_SIZE];
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
