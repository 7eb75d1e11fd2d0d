/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_REQUESTS_H
#define RAMET_SWITCH_REQUESTS_H

/* What the daemon asks for, operation by operation (proto/switch.h). */

#include "proto/switch_message.h"
#include "switch/ports/switch.h"

typedef struct Request {
    SwitchMessage message;
    int fd; /* owned; -1: none came. Who keeps it takes it */
} Request;

/* Does what a message asks for, and writes the answer, SWITCH_OK or SWITCH_ERROR. The request has
 * the descriptor that came with it, or what is left of it. Returns the answer's size. */
size_t request_handle(Switch *net, Request *request, const uint8_t *data, size_t size,
                      uint8_t *answer, size_t room);

#endif
