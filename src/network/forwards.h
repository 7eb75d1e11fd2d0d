/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_FORWARDS_H
#define RAMET_NETWORK_FORWARDS_H

/* Ports of the host that lead to a VM that is plugged into a switch or a bridge. */

#include "home/home.h"
#include "store/vms.h"

/* One forward more or less of a VM that is plugged in. ERROR_CONFLICT: the host's port is taken;
 * ERROR_NOT_FOUND: there is none. */
int network_add_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error);
int network_remove_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error);

/* The switch listens no more; the door (doors.h), if there is one, stays. */
int network_stop_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error);

#endif
