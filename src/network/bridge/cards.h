/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_CARDS_H
#define RAMET_NETWORK_BRIDGE_CARDS_H

/* Cards of VMs on bridges. A card's device is taken when its VM starts, and nothing passes until
 * it is attached; it ends with the VM's QEMU. */

#include "home/home.h"
#include "store/networks.h"
#include "store/vms.h"

/* A device for the card: one of the pool, or a new one. The descriptor is the caller's. */
int bridge_take_tap(Home *home, const NetworkRow *network, const VmRow *vm, size_t card, int *fd,
                    Error *error);

/* What may pass, with the forwards that lead to the card (n: 0: none do), and then the link. May
 * be said again. ERROR_CONFLICT: a port of the host leads elsewhere; ERROR_NOT_FOUND: the card has
 * no device. */
int bridge_attach(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                  const PortForward *forwards, size_t n, Error *error);

/* What the card may use, as its specification has it now; nothing where it is not plugged in. */
int bridge_limit_card(Home *home, const VmRow *vm, size_t card, Error *error);

/* All cards of the VM: their rules, and their devices if these are still there. sleeps: the
 * forwards stay, for who connects to be seen (knock.h). */
void bridge_release(Home *home, const VmRow *vm, bool sleeps);

/* One more or less, also of a VM that sleeps. ERROR_CONFLICT, ERROR_NOT_FOUND as above. */
int bridge_add_forward(Home *home, const VmRow *vm, size_t card, const PortForward *forward,
                       Error *error);
int bridge_remove_forward(Home *home, const VmRow *vm, size_t card, const PortForward *forward,
                          Error *error);

#endif
