/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_DOORS_H
#define RAMET_NETWORK_DOORS_H

/* Listening sockets of VMs that go to standby when they are idle. The daemon makes them, the switch
 * gets a duplicate while the VM runs, and the daemon's own keeps the port, and who connects, while
 * it sleeps. So no connection is lost on the way: it waits in the socket's queue until the switch
 * has the socket again. */

#include "proto/switch.h"
#include "store/vms.h"

#define DOORS_MAX PLAN_FORWARDS_MAX /* of a VM */

/* Has one where the VM may sleep; else, and when the port cannot be had, there is none. */
void door_open(const VmRow *vm, const SwitchForward *forward);

/* Over a bridge, whose forwards are no sockets: one that is readable when somebody wants the VM
 * (bridge/knock.h). Takes fd over. */
void door_open_knock(const VmRow *vm, int fd);

/* A duplicate, the caller's; -1: there is none. */
int door_take(const SwitchForward *forward);

/* That one, or all of the VM's: whoever waits in them is refused. */
void door_close(const SwitchForward *forward);
void doors_close(const char *vm);

/* Has the VM any? */
bool door_is_open(const char *vm);

/* Duplicates of all of the VM's, the caller's, to poll for somebody who wants it. */
size_t doors_take_all(const char *vm, int fds[DOORS_MAX]);

#endif
