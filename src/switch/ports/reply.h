/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_REPLY_H
#define RAMET_SWITCH_PORTS_REPLY_H

/* What the switch answers by itself: frames made for the one who asked. Each of them takes a
 * buffer, and does nothing when there is none: the guest asks again. */

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* The answer to an ARP request: `ip` is at `mac`. */
void reply_arp(Port *port, const Packet *request, const uint8_t mac[6]);

/* The answer to a neighbor solicitation: its target is at `mac`. router: and forwards. */
void reply_neighbor(Port *port, const Packet *solicitation, const uint8_t mac[6], bool router);

/* The answer to an ICMP or ICMPv6 echo request. */
void reply_echo(Port *port, const Packet *request);

/* Refuses a TCP segment, as RFC 9293 (3.10.7.1) says for a connection that does not exist. Nothing
 * for a segment that is a reset itself. */
void reply_reset(Port *port, const Packet *segment);

/* A datagram back to who sent `request` (UDP), from the address and port that it went to. */
void reply_udp(Port *port, const Packet *request, const uint8_t *data, size_t size);

/* The same for an answer that comes later: what of the request is needed is kept. */
typedef struct UdpPeer {
    uint16_t ethertype;
    uint8_t guest[16], gateway[16]; /* addresses, 4 or 16 bytes */
    uint8_t guest_port[2], gateway_port[2];
} UdpPeer;

/* Takes that of a request; and answers. */
void udp_peer(UdpPeer *peer, const Packet *request);
void reply_udp_to(Port *port, const UdpPeer *peer, const uint8_t *data, size_t size);

#endif
