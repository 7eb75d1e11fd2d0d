/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_GATEWAY_H
#define RAMET_SWITCH_GATEWAY_H

/* Frames to the gateway's MAC: what is for the gateway itself (ping, DNS), and what is for outside.
 */

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

/* Takes over the buffer, in which the packet lies. */
void gateway_receive(Port *port, Buffer *buffer, const Packet *packet);

#endif
