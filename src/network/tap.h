/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_TAP_H
#define RAMET_NETWORK_TAP_H

/* What is behind a card of a VM that starts: a TAP device in a network over a bridge, else a pair
 * of sockets. */

#include "home/home.h"
#include "store/vms.h"

/* Is it a network over a bridge? One that is gone is none. */
bool network_wants_tap(Home *home, const char *network);

/* A device for the card, the caller's. Nothing passes until network_attach. */
int network_take_tap(Home *home, const VmRow *vm, size_t card, int *fd, Error *error);

#endif
