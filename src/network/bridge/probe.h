/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_PROBE_H
#define RAMET_NETWORK_BRIDGE_PROBE_H

#include <pthread.h>

#include "network/bridge/bridge_names.h"

/* Can this host have networks over a bridge, with all that a switch can do to one: bridge and TAP
 * devices, the rules, latency? It is tried in a network namespace that ends with the trial; where
 * the daemon may not make one, latency only, on devices that end at once. nft: held while nftables
 * is spoken to; NULL: nobody else does. ERROR_PERMISSION, ERROR_UNSUPPORTED: what lacks. */
int bridge_probe(const BridgeNames *names, pthread_mutex_t *nft, Error *error);

#endif
