/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_POWER_H
#define RAMET_KEEPER_TASKS_POWER_H

/* Stop is asked of the agent; when the guest has not ended in time, or no agent listens, QEMU is
 * killed. There is no power button to press: microvm has none. */

#include "keeper/tasks/vm.h"

/* Begins it; its end is QEMU's. The latest timeout counts. */
int power_stop(Vm *vm, uint64_t timeout_usec, uint64_t signal, Error *error);
int power_kill(Vm *vm, Error *error);

/* QEMU is killed since nobody wants the VM any more. Has it a disk that outlives it, the guest
 * writes what it still holds first, and writes no more. That may take its time, but not for ever.
 * cause: static. */
void power_abandon(Vm *vm, const char *cause);

/* The virtual CPUs. Nothing to do is no error. */
int power_pause(Vm *vm, Error *error);
int power_resume(Vm *vm, Error *error);

#endif
