/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_SESSION_CONNECT_H
#define RAMET_AGENT_SESSION_CONNECT_H

#include "agent/session/request_stream.h"

/* The port that FRAME_CONNECT asks for. 0, -EBADMSG, -EINVAL (none). */
int connect_parse(const void *payload, size_t size, uint16_t *port, Result *result);

/* Begins to connect to that TCP port of the guest itself; the stream then has the socket, and tells
 * how it went at its end. Negative: there is no socket to be had. */
int connect_start(Stream *stream, uint16_t port, Result *result);

#endif
