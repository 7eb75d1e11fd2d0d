/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_NAMES_H
#define RAMET_SWITCH_OUTSIDE_NAMES_H

/* The name server at the gateway: what is known here is answered, the rest asked of the host's
 * resolvers. Its clients are the ports, by frames; or, where the host's own bridge passes the
 * frames, whoever sends from a port's address to a socket that is bound to the gateway's. */

#include "switch/ports/reply.h"

/* Answers a query of a port, now or later. */
void names_answer(Port *port, const UdpPeer *peer, const uint8_t *data, size_t size);

/* Answers queries that come to this UDP socket from now on, in place of the one before; taken over
 * on success. Ports need no sockets then. ERROR_USAGE: it is none. */
int names_listen(Switch *net, int fd, Error *error);

#endif
