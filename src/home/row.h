/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_ROW_H
#define RAMET_HOME_ROW_H

/* VMs' rows in the store, and their states. */

#include "base/error.h"
#include "base/json.h"
#include "base/process/process.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/vms.h"

/* Sets the state, writes the row and tells the event "vm.STATE". detail may be NULL (borrowed). */
int row_set_state(Home *home, VmRow *row, VmState state, const json_t *detail, Error *error);

/* The two halves of it, for several rows that change in one transaction: the event is told once
 * that is committed. */
int row_write_state(Home *home, VmRow *row, VmState state, Error *error);
void row_tell_state(Home *home, const VmRow *row, const json_t *detail);

/* Tells of a way to start that was tried first and failed, as an event of the VM and to the client;
 * returns the failure as JSON, the caller's. */
json_t *row_tell_fallback(Home *home, Operation *operation, const VmRow *row, const char *what,
                          const Error *failure);

/* Half made or half removed, or one of the daemon's own: those that it boots for the boot cache and
 * those of pools (runtime.hidden). They are seen by their reference only, and tell no events. */
bool row_is_hidden(const VmRow *row);

/* Does it only boot its kernel, for others to go on from (pool/booted_kernel.h)? */
bool row_is_booted_kernel(const VmRow *row);

/* No process is left, and no memory is mapped. */
void row_clear_processes(VmRow *row);

/* Forgets all that belongs to one run: processes, stages, exit, error. */
void row_clear_run(VmRow *row);

/* Finds the VM, takes its lock, and reads the row again. Fails with ERROR_NOT_FOUND when it went in
 * between. */
int row_lock(Home *home, const char *reference, const char *what, int cancel_fd, OpLock **lock,
             VmRow *row, Error *error);

/* The folder vms/ID; the descriptor is the caller's. */
int vm_folder_open(Home *home, const char *id, int *fd, Error *error);

#endif
