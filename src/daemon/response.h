/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_RESPONSE_H
#define RAMET_DAEMON_RESPONSE_H

/* What the daemon writes to a client by itself, on a socket that it took from the HTTP library: a
 * streamed response, or frames after an upgrade.
 *
 * A client that leaves or does not read for RESPONSE_STALL_USEC is given up: the stream is broken
 * then, the socket shut down (so that it wakes who polls it as a cancel_fd), and what is sent
 * further is dropped. */

#include <stdbool.h>

#include "base/json.h"

#define RESPONSE_STALL_USEC (60 * USEC_PER_SEC)

typedef struct Response {
    int fd;       /* owned; -1: not open */
    bool chunked; /* else the end of the connection ends the body (HTTP/1.0) */
    bool frames;  /* upgraded */
    bool broken;
} Response;

#define RESPONSE_INIT ((Response){.fd = -1})

/* Sends the head of a 200 response, with the note in its own header unless it is NULL; takes fd
 * over. */
void response_begin(Response *response, int fd, bool chunked, const char *content_type,
                    const char *note);

/* Sends 101 Switching Protocols; takes fd over. */
void response_upgrade(Response *response, int fd);

/* A piece of the body, or one line of it. */
void response_send(Response *response, const void *data, size_t size);
void response_send_line(Response *response, const json_t *json);

/* A frame (src/proto/frame.h) of session 0, stream 0, with JSON in it. */
void response_send_frame(Response *response, uint8_t type, const json_t *json);

/* Ends the body when there is one, and closes. A handed over socket lives on with its other holder.
 */
void response_close(Response *response);

#endif
