/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_SNAPSHOT_H
#define RAMET_KEEPER_TASKS_SNAPSHOT_H

/* Taking a snapshot of the VM. */

#include "keeper/tasks/vm.h"

/* Answers or fails the reply by itself once it has begun (0). Moves the descriptors (those that it
 * took are -1 then, also on failure). */
int snapshot_begin(Vm *vm, Reply *reply, const json_t *request, int *fds, size_t n_fds,
                   Error *error);

/* One that is being taken waits for the guest to do something, also for one that was paused. */
bool snapshot_needs_guest(const Vm *vm);

/* The guest waits for room on the host: what waits for the guest fails. */
void snapshot_lacks_room(Vm *vm);

/* There is no QEMU any more: fails the one that is being taken. */
void snapshot_end(Vm *vm);
void snapshot_free(Vm *vm);

#endif
