/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_KNOCK_H
#define RAMET_NETWORK_BRIDGE_KNOCK_H

/* Whether anybody wants a VM that is in a network over a bridge, and sleeps. Its forwards stay in
 * the tables, so who connects makes the host look for the guest's address on the bridge, or send to
 * it where it still knows the guest, as siblings do. Such frames are seen here. */

#include "home/home.h"
#include "store/networks.h"
#include "store/vm_runtime.h"

/* A descriptor, the caller's, that is readable from when anything was sent to that address, or
 * asked for it. */
int bridge_knock_open(Home *home, const NetworkRow *network, const VmAddress *address, int *fd,
                      Error *error);

#endif
