/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_ATTACH_H
#define RAMET_NETWORK_ATTACH_H

/* Which cards of running VMs are plugged into their networks: into the switch, or the bridge.
 *
 * The pair of sockets of a card is made when the VM starts: one end is QEMU's, the other the
 * switch's, and the keeper has that one, too. So when a switch ends, its successor gets from the
 * keepers what it needs, and the guests see a short loss. */

#include "home/home.h"
#include "network/vm_ports.h"
#include "store/networks.h"
#include "store/vms.h"

/* Plugs in each of the VM's cards that has a port; port_fds: the switch's ends, by card
 * (borrowed). Its forwards come with it. ERROR_CONFLICT for a host port that is taken. On failure
 * nothing is left. */
int network_attach(Home *home, const VmRow *vm, const int *port_fds, Error *error);

/* The same for a VM whose keeper has the ends. */
int network_attach_kept(Home *home, const VmRow *vm, Error *error);

/* Unplugs all; what is not there is fine, and what fails is logged. */
void network_detach(Home *home, const VmRow *vm);

/* Can the VM's networks be impaired so? ERROR_UNSUPPORTED: over a bridge not by this kernel. */
int network_check_impairment(Home *home, const VmRow *vm, const Impairment *impairment,
                             Error *error);

/* What is wrong with the whole network from now on. ERROR_NOT_FOUND, ERROR_UNSUPPORTED. */
int network_impair(Home *home, const char *name, const Impairment *impairment, Error *error);

/* Tells the switches and bridges what is wrong with the VM's cards. */
void network_impair_vm(Home *home, const VmRow *vm);

/* Tells the switches its name and addresses anew. */
void network_update_vm(Home *home, const VmRow *vm);

#endif
