/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_ANNOUNCE_H
#define RAMET_NETWORK_BRIDGE_ANNOUNCE_H

/* Tells all stations of a bridge whose MAC address an address has from now on: who knew another one
 * takes this. */

#include <net/ethernet.h>
#include <stddef.h>

#include "store/vm_runtime.h"

#define ANNOUNCE_ARP_SIZE 42
#define ANNOUNCE_ND_SIZE 86

/* A gratuitous ARP reply (RFC 826, RFC 5944, 4.6), and an unsolicited neighbor advertisement (RFC
 * 4861, 7.2.6). Each returns the frame's size; 0: the card has no such address. */
size_t announce_arp(const VmAddress *address, uint8_t frame[ANNOUNCE_ARP_SIZE]);
size_t announce_nd(const VmAddress *address, uint8_t frame[ANNOUNCE_ND_SIZE]);

/* Sends both out of the bridge. Nobody waits for them, so nothing is said of what fails. */
void announce(unsigned bridge, const VmAddress *address);

#endif
