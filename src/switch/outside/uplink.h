/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_UPLINK_H
#define RAMET_SWITCH_OUTSIDE_UPLINK_H

/* What is behind the gateway: libslirp, which makes of guests' connections sockets of this process,
 * and of connections to the host's ports those to guests. It has its own ideas of which addresses
 * mean the host; so what may reach it is decided here, before. */

#include <netinet/in.h>

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* When the network is set and needs it: with an uplink, or when a first forward comes. */
int uplink_start(Switch *net, Error *error);
void uplink_free(Switch *net);

/* May a frame from a guest go there? DROP_NONE, or why not. */
int uplink_check(const Switch *net, const Packet *packet);

/* At the end of each round: has the loop wait for what libslirp waits for. */
void uplink_settle(Switch *net);

/* Connections to that port of the loopback come back to guests as from the gateway's DNS. */
void uplink_set_dns(Switch *net, const uint8_t port[2]);

/* The uplink's own socket of that type with that address; -1: there is none. Borrowed. */
int uplink_find_socket(const Switch *net, const struct sockaddr_in *address, int type);

/* For forwards; there has to be an uplink. */
struct Slirp *uplink_slirp(const Switch *net);

#endif
