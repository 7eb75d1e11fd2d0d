/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_SWITCH_UID_H
#define RAMET_NETWORK_SWITCH_UID_H

#include "home/home.h"
#include "store/networks.h"

/* A user for the switch of a network that is made beside these rows, and the network user; 0: the
 * daemon's own, since the home has none. Within a transaction. */
unsigned switch_uid_choose(Home *home, const NetworkRow *rows, size_t count);

#endif
