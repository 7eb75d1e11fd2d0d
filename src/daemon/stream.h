/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_STREAM_H
#define RAMET_DAEMON_STREAM_H

/* What the daemon writes to a client by itself, on a socket that it took from the HTTP library: a
 * streamed response, or frames after an upgrade.
 *
 * A client that leaves or does not read for STREAM_STALL_USEC is given up: the stream is broken
 * then, the socket shut down (so that it wakes who polls it as a cancel_fd), and what is sent
 * further is dropped. */

#include <stdbool.h>

#include "base/json.h"

#define STREAM_STALL_USEC (60 * USEC_PER_SEC)

typedef struct Stream {
    int fd;       /* owned; -1: not open */
    bool chunked; /* else the end of the connection ends the body (HTTP/1.0) */
    bool frames;  /* upgraded */
    bool broken;
} Stream;

#define STREAM_INIT ((Stream){.fd = -1})

/* Sends the head of a 200 response; takes fd over. */
void stream_begin(Stream *stream, int fd, bool chunked, const char *content_type);

/* Sends 101 Switching Protocols; takes fd over. */
void stream_upgrade(Stream *stream, int fd);

/* A piece of the body, or one line of it. */
void stream_send(Stream *stream, const void *data, size_t size);
void stream_send_line(Stream *stream, const json_t *json);

/* A frame (src/proto/frame.h) of session 0, stream 0, with JSON in it. */
void stream_send_frame(Stream *stream, uint8_t type, const json_t *json);

/* Ends the body when there is one, and closes. A handed over socket lives on with its other holder.
 */
void stream_close(Stream *stream);

#endif
