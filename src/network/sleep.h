/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_SLEEP_H
#define RAMET_NETWORK_SLEEP_H

/* Ports of VMs that go to standby when they are idle: who connects wakes them. */

#include "home/home.h"
#include "store/vms.h"

/* Of a VM that goes to sleep, or sleeps: its switch listens no more, and who connects waits in its
 * doors (doors.h). Over a bridge its forwards stay, and who uses them is seen (bridge/knock.h). And
 * the opposite, once it runs again: what a switch sends to a guest that cannot take it is lost, and
 * libslirp sends no SYN twice. What fails is logged. */
void network_shut_doors(Home *home, const VmRow *vm);
void network_open_doors(Home *home, const VmRow *vm);

/* Of one that sleeps no more, nor runs: whoever waits is refused. */
void network_close_doors(Home *home, const VmRow *vm);

/* One port more or less of a VM that sleeps. ERROR_CONFLICT: over a bridge, it leads elsewhere. */
int network_change_door(Home *home, const VmRow *vm, const PortForward *forward, bool remove,
                        Error *error);

#endif
