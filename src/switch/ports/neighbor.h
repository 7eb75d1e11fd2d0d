/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_NEIGHBOR_H
#define RAMET_SWITCH_PORTS_NEIGHBOR_H

/* ARP requests and neighbor solicitations: the switch knows all leases and answers for them, so
 * none of them is flooded. Who announces itself is passed on to all. */

#include "switch/frame/packet.h"
#include "switch/ports/switch.h"

typedef enum NeighborAction {
    NEIGHBOR_FORWARD, /* as any other frame */
    NEIGHBOR_DONE,    /* answered, or none of anybody's business */
    NEIGHBOR_UNKNOWN, /* nobody has that address */
} NeighborAction;

/* For a frame that was checked. */
NeighborAction neighbor_handle(Port *port, const Packet *packet);

#endif
