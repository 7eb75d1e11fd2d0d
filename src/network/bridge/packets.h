/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_PACKETS_H
#define RAMET_NETWORK_BRIDGE_PACKETS_H

/* What passes a bridge, for captures. */

#include "home/home.h"
#include "store/networks.h"
#include "store/vms.h"

/* A packet socket (packet(7)), the caller's. Of a whole network it has each frame that comes to the
 * bridge, and what the host sends; of a card (vm not NULL) what its guest sends and gets.
 * ERROR_NOT_FOUND: the card has no device. */
int bridge_open_packets(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                        int *fd, Error *error);

#endif
