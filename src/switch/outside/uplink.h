/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_UPLINK_H
#define RAMET_SWITCH_OUTSIDE_UPLINK_H

/* What is behind the gateway: libslirp, which makes of guests' connections sockets of this process,
 * and of connections to the host's ports those to guests. It has its own ideas of which addresses
 * mean the host; so what may reach it is decided here, before. */

#include <netinet/in.h>

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* When the network is set and needs it; nothing where ports are apart. */
int uplink_start(Switch *net, Error *error);

/* When a port needs it for a first forward or, where ports are apart, a first frame: the network's,
 * or its own. */
int uplink_start_of(Port *port, Error *error);
void uplink_free(Outside *outside); /* after its DNS (dns_tcp.h) */

/* What a port has there: the network's, or its own. */
Outside *uplink_outside(Port *port);

/* That of a port; NULL: there is none. */
Uplink *uplink_of(const Port *port);

/* May a frame from a guest go there? DROP_NONE, or why not. */
int uplink_check(Port *port, const Packet *packet);

/* Connections to that port of the loopback come back to guests as from the gateway's DNS. */
void uplink_set_dns(Uplink *uplink, const uint8_t port[2]);

/* The uplink's own socket of that type with that address; -1: there is none. Borrowed. */
int uplink_find_socket(const Uplink *uplink, const struct sockaddr_in *address, int type);

/* For forwards. */
struct Slirp *uplink_slirp(Uplink *uplink);

#endif
