/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_SWITCH_H
#define RAMET_NETWORK_SWITCH_H

/* The ramet-switch of each network: a process of its own, which outlives the daemon. It is known by
 * its identity, which the network's row has, and reached at networks/ID.sock in the home. It knows
 * nothing that the daemon does not: one that was started anew is told all of it (attach.h).
 *
 * Who calls has the network's lock. */

#include "home/home.h"
#include "store/networks.h"

/* A connection to the network's switch, the caller's. One is started where none answers, and then
 * *fresh is true: it has no port yet. */
int switch_open(Home *home, NetworkRow *network, int *fd, bool *fresh, Error *error);

/* The same only where one runs; else -ENOENT. */
int switch_open_running(Home *home, const NetworkRow *network, int *fd);

/* Ends it, and leaves none of its files. */
int switch_end(Home *home, const NetworkRow *network, Error *error);

#endif
