/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_REVIVE_H
#define RAMET_NETWORK_REVIVE_H

/* Switches that were started anew, which are told all that the one before knew. */

#include "home/home.h"
#include "store/networks.h"

/* A connection, the caller's, to a switch that has all ports of VMs that run; it is started where
 * none does. Who calls has the network's lock. */
int network_open_switch(Home *home, NetworkRow *network, int *fd, Error *error);

/* Looks after the switches that run, and starts those that ended while VMs are plugged into them.
 */
int network_attach_start(Home *home, Error *error);

#endif
