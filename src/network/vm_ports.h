/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_VM_PORTS_H
#define RAMET_NETWORK_VM_PORTS_H

/* Which of a VM's cards are plugged into something of Ramet's. */

#include "store/vms.h"

/* Has that card, or any, a port of a switch or bridge while the VM runs? In the network user a VM
 * has none that an earlier version started, and in one with a name none that nobody sees. */
bool network_has_port(const VmRow *vm, size_t card);
bool network_has_ports(const VmRow *vm);

/* ERROR_CONFLICT: that card has none, or none has. */
int network_require_port(const VmRow *vm, size_t card, Error *error);
int network_require_ports(const VmRow *vm, Error *error);

#endif
