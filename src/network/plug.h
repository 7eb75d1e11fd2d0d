/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_PLUG_H
#define RAMET_NETWORK_PLUG_H

/* One card's port of a switch, told over a connection to it (switch.h). A switch has all of it.
 * Over a bridge it has the name only: frames and forwards are the host's (network/bridge/cards.h).
 */

#include "proto/switch.h"
#include "store/networks.h"
#include "store/vms.h"

/* With limits, impairment and forwards; what is there of it already is set anew. port_fd: the
 * switch's end (borrowed). ERROR_CONFLICT: a port of the host is taken. */
int plug_set_port(int fd, const NetworkRow *network, const VmRow *vm, size_t card, int port_fd,
                  Error *error);

/* What is not there is fine, and what fails is logged. */
void plug_remove_port(int fd, const VmRow *vm, size_t card);

/* By its door (doors.h), where it has one. */
int plug_add_forward(int fd, const SwitchForward *forward, Error *error);

/* What is wrong with all of the network. */
int plug_impair_network(int fd, const NetworkRow *network, Error *error);

#endif
