/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_BRIDGES_H
#define RAMET_NETWORK_BRIDGE_BRIDGES_H

/* Networks over a bridge of the host, for a daemon that may make one (CAP_NET_ADMIN): the bridge
 * has the gateway's addresses, a card is a TAP device, and nftables says what may come from it,
 * leave and arrive (rules.h). Names are answered by the network's ramet-switch, at a socket that is
 * bound to the gateway's address.
 *
 * Who calls for one network has its lock. Several networks at once are fine. */

#include "home/home.h"
#include "network/bridge/bridge_names.h"

/* Can this host have bridges that can all that a switch can, impairment included? ERROR_PERMISSION,
 * ERROR_UNSUPPORTED: what lacks. */
int bridges_can_all(Home *home, Error *error);

/* Makes the network's bridge and rules, or what is missing of them. ERROR_PERMISSION,
 * ERROR_UNSUPPORTED: this host cannot; ERROR_CONFLICT: somebody else has a device of its name. */
int bridge_open(Home *home, const NetworkRow *network, Error *error);

/* Removes all of it; its row is gone. */
void bridge_remove(Home *home, const NetworkRow *network);

/* Puts the bridge there again if it is gone, with its cards, and the tables if they are gone. */
int bridge_repair(Home *home, const NetworkRow *network, Error *error);

/* A socket for the network's name server. ERROR_CONFLICT: another has that port. */
int bridge_name_socket(const NetworkRow *network, int *fd, Error *error);

#endif
