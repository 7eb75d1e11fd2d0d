/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_MACHINE_H
#define RAMET_MACHINE_MACHINE_H

/* What can be done with VMs. A reference is a name, an id, or the start of an id (4 digits or
 * more). Each operation takes the VM's lock; one that another operation holds is waited for, until
 * the client goes away or a bound passes (ERROR_CONFLICT, with the name of what goes on).
 *
 * A VM as JSON is what docs and contract list: id name state image image_digest accel machine
 * memory_bytes cpus qemu_pid keeper_pid ip mac hostname boot snapshot created_at disk memory stages
 * network forwards remove exit error. The caller owns it. `vm` may be NULL where it is not wanted.
 */

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "home/spec.h"

/* Makes a VM and its disk and does not start it. An absent image whose name is a recipe's is built
 * first. ERROR_CONFLICT: the name is taken. */
int vm_create(Home *home, Operation *operation, const VmSpec *spec, json_t **vm, Error *error);

/* Runs a command (a shell's line) in a VM that runs, again and again until it succeeds, for so many
 * seconds. ERROR_GUEST_NOT_READY with its last output otherwise; the VM runs on. */
#define VM_WAIT_FOR_SECONDS 300
int vm_wait_for(Home *home, Operation *operation, const char *reference, const char *command,
                uint64_t timeout_s, Error *error);

/* Agent, power off, kill: each with its share of the time. Stopped already is success. */
#define VM_STOP_TIMEOUT_DEFAULT_USEC (30 * USEC_PER_SEC)
int vm_stop(Home *home, Operation *operation, const char *reference, uint64_t timeout_usec,
            json_t **vm, Error *error);

/* At once. ERROR_CONFLICT when it does not run. */
int vm_kill(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error);

/* Stop its CPUs, and let them go on. ERROR_CONFLICT in other states. */
int vm_pause(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error);
int vm_unpause(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error);

/* Gives a VM, in any state, another name. Its host name follows at once where it does not run, else
 * at its next start, unless it has one of its own. ERROR_CONFLICT: the name is taken. */
int vm_rename(Home *home, Operation *operation, const char *reference, const char *name,
              json_t **vm, Error *error);

/* Saves a running or paused VM and ends its process. ERROR_CONFLICT in any other state. */
int vm_standby(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error);

/* Lets a VM in standby go on where it was. ERROR_CONFLICT in any other state. */
int vm_resume(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error);

#endif
