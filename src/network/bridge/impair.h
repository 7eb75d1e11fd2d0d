/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_IMPAIR_H
#define RAMET_NETWORK_BRIDGE_IMPAIR_H

/* Impairment of networks over bridges: what shape each card gets (shape.h). Who calls has the
 * network's lock. */

#include "home/home.h"
#include "network/bridge/bridge_inside.h"
#include "store/networks.h"
#include "store/vms.h"

/* ERROR_UNSUPPORTED: this host's kernel cannot. */
int bridge_check_impairment(Home *home, const Impairment *impairment, Error *error);

/* All cards of the network as its row has it now, and as those of their VMs have it. */
int bridge_impair_network(Home *home, const NetworkRow *network, Error *error);

/* One card, as the rows have it. One that is not plugged in is fine. */
int bridge_impair_card(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                       Error *error);

/* The lines of the network's cards that have some; all: of all of them, as it is not known which
 * have. Failures are logged. The mutex is held. */
void bridge_shape_again(Bridges *bridges, const NetworkRow *network, bool all);

/* The lines of a card that is being attached. The mutex is held. */
int bridge_shape_card(Bridges *bridges, Tap *tap, Error *error);

#endif
