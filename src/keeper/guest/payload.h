/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_PAYLOAD_H
#define RAMET_KEEPER_GUEST_PAYLOAD_H

/* Requests as the daemon writes them (JSON) to requests as the agent reads them (fields). */

#include "base/json.h"

/* Of EXEC. Returns the size. */
ssize_t payload_write_exec(const json_t *request, uint8_t *buffer, size_t room, Error *error);

/* Of CONNECT. Returns the size. */
ssize_t payload_write_connect(const json_t *request, uint8_t *buffer, size_t room, Error *error);

/* Of what is done to a path. fallback: the path when the request has none; NULL: it must have one.
 * Returns the size. */
ssize_t payload_write_path(const json_t *request, const char *fallback, uint8_t *buffer,
                           size_t room, Error *error);

#endif
