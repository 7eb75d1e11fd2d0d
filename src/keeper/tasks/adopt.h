/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_ADOPT_H
#define RAMET_KEEPER_TASKS_ADOPT_H

/* The VM that a snapshot was taken of maps the snapshot's memory in the place of its own, so that
 * what both have is there once. */

#include "keeper/tasks/vm.h"
#include "memory/capture.h"

/* For a snapshot whose capture is finished: "" when the VM can adopt it, else why not; static. The
 * capture then goes on to tell what is written. */
const char *adopt_refusal(const Vm *vm, const MemoryCapture *capture);

/* From here on until adopt_begin, or until nobody wants it any more, what is written is kept in
 * mind. Moves *ram and what the capture tells by. */
void adopt_offer(Vm *vm, GuestRam *ram, MemoryCapture *capture);

/* Ends the offer, or what has become of it: the VM maps the one memory or the other then. */
void adopt_withdraw(Vm *vm);

/* As snapshot_begin. */
int adopt_begin(Vm *vm, Reply *reply, const json_t *request, int *fds, size_t n_fds, Error *error);

/* There is no QEMU any more, or the keeper ends. */
void adopt_end(Vm *vm);

#endif
