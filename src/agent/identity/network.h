/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_NETWORK_H
#define RAMET_AGENT_IDENTITY_NETWORK_H

#include "agent/identity/network_settings.h"

/* Brings the loopback up. */
int network_raise_loopback(void);

/* Gives the cards their names (eth0, eth1, … in the order of the list), hardware addresses,
 * addresses and default routes. Doing it again with the same values changes nothing: no connection
 * drops. Without a MAC address of the first there is nothing to do. */
int network_apply(const Network *networks, size_t count, Result *result);

/* Before a snapshot: looks whether the cards are as they were set, which network_apply then
 * believes until network_forget. */
void network_prepare(void);
void network_forget(void);

/* Takes and gives back the kernel's lock of all that changes a network (RTNL), and those of the
 * programs' connections. */
void network_take_locks(void);

#endif
