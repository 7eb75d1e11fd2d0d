/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_END_H
#define RAMET_KEEPER_TASKS_END_H

/* The end: QEMU is gone. What it left in its sockets is read first (the last lines of the console,
 * an EXIT that was under way), then the cause is known. exit.json is written before anybody is
 * told, so that who is told finds it. */

#include "keeper/tasks/vm.h"

/* QEMU has ended, or there will be none, and end_run was not called. */
bool end_is_due(const Vm *vm);

/* Ends the tasks that are under way and returns what watchers are to hear: {"event":"exit","cause",
 * …}, which the caller owns. The agent's channel is still open, for who has streams there. */
json_t *end_run(Vm *vm);

#endif
