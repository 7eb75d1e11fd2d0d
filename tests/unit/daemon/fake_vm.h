/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_FAKE_VM_H
#define RAMET_TESTS_FAKE_VM_H

/* A daemon without VMs, for tests of the server: a real store, and operations that answer by the
 * name that they are asked for:
 *
 *   vm_run   "slow": tells one event and waits until it is cancelled; "bad": fails after two
 * events; "refused": fails at once; else two events and success vm_wait  waits until it is
 * cancelled vm_hand_stream   a thread echoes what the client sends, until its end
 */

#include <stdatomic.h>

#include "home/home.h"

extern atomic_int fake_cancelled; /* operations that were cancelled */
extern atomic_int fake_waiting;   /* operations that wait for it */
extern atomic_int fake_removed;

Home *fake_home_new(const char *path);
void fake_home_free(Home *home);

/* Puts a VM into the store, with its folder. */
void fake_add_vm(Home *home, const char *name, const char *state);
void fake_set_state(Home *home, const char *name, const char *state);

/* The folder of a VM: HOME/vms/NAME. */
char *fake_vm_folder(Home *home, const char *name);

#endif
