/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_BRIDGE_PART_H
#define RAMET_NETWORK_BRIDGE_BRIDGE_PART_H

/* Bridges as a part of a home that is open. */

#include "home/home.h"

/* Finds the devices that VMs have, and removes bridges that an ended daemon left without a network.
 * changed is called from a thread of its own when something of it went without our doing: each
 * network is to be repaired then. A daemon that may not make bridges has none to begin with. */
int bridges_start(Home *home, void (*changed)(Home *home), Error *error);

#endif
