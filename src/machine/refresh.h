/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_REFRESH_H
#define RAMET_MACHINE_REFRESH_H

/* Making a VM's row say what is true. */

#include "base/error.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "run/run_end.h"
#include "store/vms.h"

/* Calls vm_refresh in a thread of its own. */
void vm_refresh_later(Home *home, const char *id);

/* Makes the row say what is true: asks the keeper; when it is gone, records the end of the run
 * (stopped or failed) and removes a --rm VM. Takes the VM's lock. */
void vm_refresh(Home *home, const char *id);

/* After the end of a run: a --rm VM, one whose `run` did not get ready, and a pool's clone are
 * removed (RUN_REMOVED). */
int vm_finish_run(Home *home, VmRow *row, RunEnd *end, Error *error);

/* Both. */
int vm_refresh_locked(Home *home, VmRow *row, RunEnd *end, Error *error);

/* After RUN_REBOOTS. A --rm VM that does not start is removed. */
int vm_start_after_reboot(Home *home, OpLock *lock, VmRow *row, Error *error);

#endif
