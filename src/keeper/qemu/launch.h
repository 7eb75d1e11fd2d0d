/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_LAUNCH_H
#define RAMET_KEEPER_QEMU_LAUNCH_H

/* Starting QEMU, with sockets for its monitor, console and the agent's channel, a pipe for its
 * error output, and the plan's files. It opens no path of ours. */

#include "keeper/qemu/machine.h"

/* A child that becomes QEMU when it is told so (zygote/client.h). */
typedef struct QemuChild {
    int socket; /* owned; -1: there is none, QEMU is spawned */
    pid_t pid;
} QemuChild;

/* Starts QEMU as the plan says; fds are what its indexes mean. The child's socket is moved to the
 * machine or closed. Fills the machine, and *channel_fd with the agent's channel, which is the
 * caller's, also on failure. */
int launch_qemu(Machine *machine, const Plan *plan, const int *fds, QemuChild *child,
                int *channel_fd, Error *error);

#endif
