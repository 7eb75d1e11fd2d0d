/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_FORWARD_H
#define RAMET_KEEPER_TASKS_FORWARD_H

/* Ports of the host that QEMU's user-mode network leads into the guest, while it runs. */

#include "keeper/tasks/vm.h"

/* Those of the plan's first card, on the card that has the user-mode network, if there is one. */
int forward_add_all(Vm *vm, Error *error);

/* {"host_ip","host_port","guest_port","udp","remove"}: one more, or with `remove` one less.
 * ERROR_CONFLICT: the host's port is taken; ERROR_NOT_FOUND: there is no such forward. */
int forward_change(Vm *vm, const json_t *request, Error *error);

#endif
