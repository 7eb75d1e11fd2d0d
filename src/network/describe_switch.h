/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_DESCRIBE_SWITCH_H
#define RAMET_NETWORK_DESCRIBE_SWITCH_H

/* What a switch is told of a network, and of a VM's card in it. */

#include "proto/switch.h"
#include "store/networks.h"
#include "store/vms.h"

/* Its addresses, and what is open. */
void switch_describe_network(const NetworkRow *network, SwitchNetwork *settings);
/* The lease of the card. */
void switch_describe_port(const VmRow *vm, size_t card, SwitchPort *port);
/* A forward that leads to the card. */
void switch_describe_forward(const VmRow *vm, size_t card, const PortForward *forward,
                             SwitchForward *told);

/* Of a VM both ways; of a network once between two VMs, and on the way out. */
void switch_describe_impair(const Impairment *impairment, bool whole_network, SwitchImpair *told);

/* Of each of a VM's ports. */
void switch_describe_limit(const NetLimit *limit, SwitchLimit *told);

/* The port's id: "VMID/0". */
void switch_port_id(const VmRow *vm, size_t card, char id[SWITCH_ID_SIZE]);

#endif
