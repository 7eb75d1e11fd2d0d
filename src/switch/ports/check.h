/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_CHECK_H
#define RAMET_SWITCH_PORTS_CHECK_H

/* Is a frame from a guest what its port's lease allows? */

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* Takes the frame apart and looks at who claims to have sent it: Ethernet, ARP, IPv4, IPv6, ND.
 * DROP_NONE, or why it has to go. */
int check_frame(const Port *port, Packet *packet, uint8_t *frame, size_t size);

/* Calls for the link-layer address in each option of that kind (1: source, 2: target) of an ND
 * message. false when the options are malformed. */
typedef void (*NdOptionHandler)(uint8_t *mac, void *data);
bool nd_each_mac(const Packet *packet, NdOptionHandler handler, void *data);

/* Is it an ND message or a router's? */
bool packet_is_nd(const Packet *packet);

#endif
