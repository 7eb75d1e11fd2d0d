/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_BRIDGE_WATCH_H
#define RAMET_NETWORK_BRIDGE_BRIDGE_WATCH_H

/* One thread that hears of what the host's devices and tables become. */

#include "base/error.h"

typedef struct BridgeWatch BridgeWatch;

/* Calls gone from that thread when a device whose name begins with "ramet", or the table, went; or
 * when something was missed. */
int bridge_watch_start(const char *table, void (*gone)(void *data), void *data, BridgeWatch **watch,
                       Error *error);

/* Waits for its end. NULL is fine. */
void bridge_watch_stop(BridgeWatch *watch);

#endif
