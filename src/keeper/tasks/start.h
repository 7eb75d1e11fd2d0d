/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_START_H
#define RAMET_KEEPER_TASKS_START_H

/* From the plan to a VM that is ready, or warm; and from warm to ready, by a claim. */

#include "keeper/tasks/vm.h"

/* Both answer or fail the reply by themselves once they have begun (0). fds: what the plan's
 * indexes mean; borrowed. */
int start_begin(Vm *vm, Reply *reply, const json_t *request, const int *fds, size_t n_fds,
                Error *error);
int start_claim(Vm *vm, Reply *reply, const json_t *request, Error *error);

/* The guest gave a sign of life. */
void start_heard(Vm *vm);

/* The host has no room for what the guest writes: it fails. */
void start_lacks_room(Vm *vm);

/* It failed, and there is no QEMU whose exit would tell. */
bool start_has_ended(const Vm *vm);

/* There is no QEMU any more: fails the reply. */
void start_end(Vm *vm);

/* Of the VM's handshake and channel; their data is the VM. */
extern const HandshakeHandlers start_handshake_handlers;
extern const AgentChannelHandlers start_channel_handlers;

#endif
