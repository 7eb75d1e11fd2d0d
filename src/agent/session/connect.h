/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_CONNECT_H
#define RAMET_AGENT_SESSION_CONNECT_H

#include "agent/session/request_stream.h"

typedef struct ConnectRequest {
    uint16_t port;
    uint64_t patience_usec; /* how long it is tried again when nobody listens there */
} ConnectRequest;

/* What FRAME_CONNECT asks for. 0, -EBADMSG, -EINVAL (no port). */
int connect_parse(const void *payload, size_t size, ConnectRequest *request, Result *result);

/* Begins to connect to that TCP port of the guest itself; the stream then has the socket, and tells
 * how it went at its end. Negative: there is no socket to be had. */
int connect_start(Stream *stream, const ConnectRequest *request, Result *result);

#endif
