/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_TRANSLATE_H
#define RAMET_SWITCH_PORTS_TRANSLATE_H

/* The MAC in the guest and the MAC on the network, where a port's lease has two: a clone can keep
 * the card of its source. Done in place, in the Ethernet header, in ARP and in ND. */

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* Of a frame from the guest that was checked. */
void translate_from_guest(const Port *port, const Packet *packet);

/* Is a frame on its way to the port one that has to be translated for its guest? */
bool translate_is_due(const Port *port, const Buffer *buffer);

/* Does it. Nobody else may get that buffer. */
void translate_to_guest(const Port *port, Buffer *buffer);

#endif
