/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_ROOM_H
#define RAMET_KEEPER_TASKS_ROOM_H

/* A guest that wrote to its disk when the host had no room. QEMU stops it, with the write undone,
 * and does that again when it goes on; so nothing is lost by waiting. */

#include "keeper/tasks/vm.h"

/* QEMU has just stopped it. It is paused, or still stopping, and goes on by itself once there is
 * room. */
void room_await(Vm *vm);

/* ERROR_NO_SPACE, for who needs the guest now: what is the matter, and what to do. */
int room_error(Error *error);

/* Somebody else says now when it goes on. Nothing to do is no error. */
void room_await_no_more(Vm *vm);

#endif
