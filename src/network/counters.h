/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_COUNTERS_H
#define RAMET_NETWORK_COUNTERS_H

/* What switches, and the kernel for cards on bridges, count. */

#include "base/json.h"
#include "home/home.h"
#include "store/vms.h"

/* The counters of all ports of a network, an object by port (borrowed):
 * {"received_bytes","received_packets","sent_bytes","sent_packets","dropped_packets","drops":{by
 * reason, only those that there are}}. Received is what the guest got. Empty when no switch runs.
 * A switch, or the kernel, tells of all ports at once, so it is asked at the first call for that
 * network only: `read`, an object of the caller's, keeps what was read by the network's name. */
const json_t *network_counters(Home *home, json_t *read, const char *name);

/* Those of a card of the VM (borrowed); NULL: there are none. */
const json_t *network_counters_of(const json_t *counters, const VmRow *vm, size_t card);

#endif
