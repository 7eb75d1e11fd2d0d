/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_START_H
#define RAMET_MACHINE_START_H

/* For callers that hold the lock. */

#include "base/error.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/vms.h"

/* Start and end one run of the VM; the row is kept up to date. */
int vm_start_locked(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* The same but for its states: what is done before vm_boot, without which a row of any state is
 * booted by those who show it later. */
int vm_prepare_boot(Home *home, Operation *operation, VmRow *row, Error *error);

/* The VM is ready: it is `running` from here on, and watched. When the store cannot say so, its
 * processes are ended and it is `failed`. */
int vm_become_running(Home *home, VmRow *row, Error *error);

/* Launches it cold, again and again while its console stays silent. */
int vm_boot(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* The row becomes `failed` with that error. */
void vm_record_failure(Home *home, VmRow *row, const Error *failure);

#endif
