/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_FAKE_VM_H
#define RAMET_TESTS_FAKE_VM_H

/* A src/vm without VMs, for tests of the server: a real store, and operations that answer by the
 * name that they are asked for:
 *
 *   vm_run   "slow": tells one event and waits until it is cancelled; "bad": fails after two
 * events; "refused": fails at once; else two events and success vm_wait  waits until it is
 * cancelled vm_hand_stream   a thread echoes what the client sends, until its end
 */

#include <stdatomic.h>

#include "vm/ramet.h"

extern atomic_int fake_cancelled; /* operations that were cancelled */
extern atomic_int fake_waiting;   /* operations that wait for it */
extern atomic_int fake_removed;

Ramet *fake_ramet_new(const char *home);
void fake_ramet_free(Ramet *ramet);

/* Puts a VM into the store, with its folder. */
void fake_add_vm(Ramet *ramet, const char *name, const char *state);
void fake_set_state(Ramet *ramet, const char *name, const char *state);

/* The folder of a VM: HOME/vms/NAME. */
char *fake_vm_folder(Ramet *ramet, const char *name);

#endif
