/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_CONNECTIONS_H
#define RAMET_SWITCH_FRAME_CONNECTIONS_H

/* The connections that a guest has opened to what is outside: TCP from its SYN to the second FIN or
 * a RST, UDP as long as datagrams go back and forth. Those that come in through a forward are not
 * among them, nor are those from before the table was made. */

#include "switch/frame/packet.h"

/* When nothing was heard of them they are over: as libslirp has it for UDP. */
#define CONNECTION_UDP_USEC (240u * 1000u * 1000u)
#define CONNECTION_DNS_USEC (10u * 1000u * 1000u)
#define CONNECTION_SYN_USEC (120u * 1000u * 1000u)    /* without an answer */
#define CONNECTION_FIN_USEC (600u * 1000u * 1000u)    /* closed by one side */
#define CONNECTION_TCP_USEC (7200ull * 1000u * 1000u) /* open, and silent */

typedef struct Connections Connections;

/* Aborts when out of memory, as the other calls. */
Connections *connections_new(void);
void connections_free(Connections *connections);

/* A packet from the guest to outside: false when it would begin one more than `most`. */
bool connections_admit(Connections *connections, const Packet *packet, uint64_t most,
                       uint64_t now_usec);

/* A packet from outside to the guest. */
void connections_note(Connections *connections, const Packet *packet, uint64_t now_usec);

/* How many there are; those that are over by their time among them, until room is needed. */
uint32_t connections_count(const Connections *connections);

#endif
