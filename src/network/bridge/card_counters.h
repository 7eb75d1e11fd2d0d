/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_CARD_COUNTERS_H
#define RAMET_NETWORK_BRIDGE_CARD_COUNTERS_H

/* What the kernel counted for the cards of a network over a bridge. */

#include "home/home.h"
#include "proto/switch.h"
#include "store/networks.h"

/* Calls for each card that has a device: `use` as bridge_card_use makes it. Of drops the kernel
 * tells only those of a queue that was full. 0, or a negative errno. */
int bridge_each_counters(Home *home, const NetworkRow *network,
                         void (*call)(const char *use, const SwitchCounters *counters, void *data),
                         void *data);

#endif
