/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_OWN_STREAM_H
#define RAMET_PROTO_API_OWN_STREAM_H

/* The client's end of a stream that its VMs live with (docs/protocols.md, Upgrade of /v1/fork):
 * while it is open they do, and they are removed when it is closed, or when the client dies. */

#include "proto/api/http_client.h"

/* Reads events, each of which goes to on_event (may be NULL), until READY comes; *ready is what it
 * says, the caller's. What the daemon reports instead becomes the error. */
int own_stream_await(int stream, HttpLineHandler on_event, void *data, json_t **ready,
                     Error *error);

#endif
