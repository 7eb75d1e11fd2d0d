/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_NETWORK_LOCK_H
#define RAMET_NETWORK_NETWORK_LOCK_H

#include "home/home.h"
#include "home/op_lock.h"
#include "store/networks.h"

/* One change of a network at a time: its lock, and its row as it is then. A VM's lock, where both
 * are needed, comes first. The network user is made when it is needed. ERROR_NOT_FOUND. */
int network_lock(Home *home, const char *name, OpLock **lock, NetworkRow *network, Error *error);

#endif
