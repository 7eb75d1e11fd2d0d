/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_TAP_POOL_H
#define RAMET_NETWORK_BRIDGE_TAP_POOL_H

/* TAP devices that wait for a card: ports of their bridge, without a link. They are made in the
 * background, by several threads. A device is a card's once, and then ends with it: so whoever gets
 * one finds empty queues and counters. */

#include "network/bridge/bridge_inside.h"

/* Makes one of that use ("pool", or a card). Its fd is the caller's; it is in no list yet. Takes no
 * mutex. */
int tap_make(const Bridges *bridges, const NetworkRow *network, const char *use, Tap *tap,
             Error *error);

/* Fills the network's pool up in the background. */
void tap_pool_fill_later(Home *home, const NetworkRow *network);

/* How many wait. */
size_t tap_pool_count(Home *home, const NetworkRow *network);

#endif
