/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_LEASE_H
#define RAMET_NETWORK_LEASE_H

/* Addresses of VMs in networks that have a name.
 *
 * Within a network, an address has always the same MAC address unless another was asked for. So who
 * gets an address that another had before is known to all who remember that one. */

#include "store/networks.h"
#include "store/vms.h"

/* Leases an address for each card of the VM that is in such a network, and writes them into the
 * row; a VM that is hidden gets none until it is claimed. Within a transaction in which the VM's
 * row is written, too. The leases go with the VM's row. ERROR_NOT_FOUND: there is no such network.
 * ERROR_USAGE: the address that was asked for is none of the network's. ERROR_CONFLICT: it is
 * taken, or all are. */
int network_lease(Store *store, VmRow *vm, Error *error);

/* Are there networks of these names? ERROR_NOT_FOUND. */
int network_check_cards(Store *store, const VmCards *cards, Error *error);

/* An address of the network that nobody has while its link is out: what a VM that nobody sees is
 * set up with, so that its clones only change it. */
void network_spare_address(const NetworkRow *network, VmAddress *address);

/* The MAC address that goes with an address. */
void network_mac(const NetworkRow *network, uint32_t ip, char mac[18]);

/* The network's IPv6 address number `host`, as its IPv4 addresses count. */
void network_address6(const NetworkData *data, uint32_t host, char text[46]);

/* Do the VM's networks have what its limits need? ERROR_UNSUPPORTED for one without a switch. */
int network_check_limit(Store *store, const VmRow *vm, Error *error);

#endif
