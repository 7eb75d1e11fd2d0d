/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_DNS_TCP_H
#define RAMET_SWITCH_OUTSIDE_DNS_TCP_H

/* DNS over TCP (RFC 7766) at the gateway, for answers that do not fit into a datagram. A bounded
 * number of connections; each has one query under way. */

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* Is it a segment to the gateway's DNS? Then it is changed in place so that the uplink passes it to
 * us. false also when we cannot listen. */
bool dns_tcp_redirect(Port *port, const Packet *packet);

/* Leaves NULL. */
void dns_tcp_free(DnsTcp **dns_tcp);

#endif
