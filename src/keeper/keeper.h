/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_KEEPER_H
#define RAMET_KEEPER_KEEPER_H

/* The parent of one VM's QEMU: one VM, one thread, one loop. It is composed here of its rooms:
 *
 *   api/      what the daemon and clients ask: connections, requests, sessions
 *   tasks/    what is done to the VM: start, claim, snapshot, power, end
 *   guest/    what speaks with the agent: channel, link, mailbox, payloads, pulse
 *   qemu/     QEMU: process, monitor, console
 *   process/  what this process may do
 *
 * Each uses only those below it. What a lower room has to tell comes by the handlers that are set
 * here; clients wait for a task by its Reply. What is due after anything that happened (bytes for
 * the agent, sessions that are over, the end) is seen to in one step after each round. */

#include "keeper/api/request.h"
#include "keeper/process/clock_watch.h"

typedef struct Keeper {
    Loop *loop; /* owned */
    Vm vm;
    Api api;
    ClockWatch clock_watch;
    bool clock_jumped; /* the host's, and its guest has not been told yet */
} Keeper;

/* Takes the listening socket over, and the child, if any. Its loop then runs until the VM has ended
 * and all were told. */
int keeper_new(int listen_fd, const QemuChild *child, Keeper *keeper, Error *error);
void keeper_free(Keeper *keeper);

#endif
