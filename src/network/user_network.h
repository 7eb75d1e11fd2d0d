/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_USER_NETWORK_H
#define RAMET_NETWORK_USER_NETWORK_H

/* The network `user`: one switch for all VMs of a home that are in it, each of which is alone. Its
 * row is made when the first VM needs it. All have the same addresses, so nothing is leased. */

#include "home/home.h"
#include "store/networks.h"

/* Under its lock. */
int user_network_open(Home *home, NetworkRow *network, Error *error);

#endif
