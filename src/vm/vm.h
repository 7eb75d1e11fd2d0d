/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_VM_H
#define RAMET_VM_VM_H

/* What can be done with VMs. A reference is a name, an id, or the start of an id (4 digits or
 * more). Each operation takes the VM's lock; one that another operation holds is waited for, until
 * the client goes away or a bound passes (ERROR_CONFLICT, with the name of what goes on).
 *
 * A VM as JSON is what docs and contract list: id name state image image_digest accel machine
 * memory_bytes cpus qemu_pid keeper_pid ip mac hostname boot snapshot created_at disk memory stages
 * network forwards remove exit error. The caller owns it. `vm` may be NULL where it is not wanted.
 */

#include "base/json.h"
#include "vm/operation.h"
#include "vm/ramet.h"
#include "vm/spec.h"

/* Makes a VM and its disk and does not start it. An absent image whose name is a recipe's is built
 * first. ERROR_CONFLICT: the name is taken. */
int vm_create(Ramet *ramet, Operation *operation, const VmSpec *spec, json_t **vm, Error *error);

/* Starts it and waits until it is ready. On failure it is `failed`, and the error carries the last
 * lines of its console. ERROR_CONFLICT when it runs. */
int vm_start(Ramet *ramet, Operation *operation, const char *reference, bool cold, json_t **vm,
             Error *error);

/* vm_create and vm_start; a failure or a client that goes away leaves nothing behind. attached: the
 * VM belongs to the client whose stream is handed over next (vm_hand_stream with owner); a --rm VM
 * ends with it. */
int vm_run(Ramet *ramet, Operation *operation, const VmSpec *spec, bool attached, json_t **vm,
           Error *error);

/* Agent, power off, kill: each with its share of the time. Stopped already is success. */
#define VM_STOP_TIMEOUT_DEFAULT_USEC (30 * USEC_PER_SEC)
int vm_stop(Ramet *ramet, Operation *operation, const char *reference, uint64_t timeout_usec,
            json_t **vm, Error *error);

/* At once. ERROR_CONFLICT when it does not run. */
int vm_kill(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error);

/* vm_stop where it runs, and vm_start. */
int vm_restart(Ramet *ramet, Operation *operation, const char *reference, bool cold,
               uint64_t timeout_usec, json_t **vm, Error *error);

/* Stop its CPUs, and let them go on. ERROR_CONFLICT in other states. */
int vm_pause(Ramet *ramet, Operation *operation, const char *reference, json_t **vm, Error *error);
int vm_unpause(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
               Error *error);

/* ERROR_CONFLICT when it runs, unless force, which kills it first. Goes on after an error; all of
 * them are in the message. */
int vm_remove(Ramet *ramet, Operation *operation, const char *reference, bool force, Error *error);

/* Until it is in one of the states ("stopped" is also met by "failed"), or gone: *vm is then
 * {"id","name","state":"stopped","removed":true}.
 * Ends early only with the client. state NULL: stopped. */
int vm_wait(Ramet *ramet, Operation *operation, const char *reference, const char *state,
            json_t **vm, Error *error);

/* All that is known of it. */
int vm_inspect(Ramet *ramet, const char *reference, json_t **vm, Error *error);

/* [VM]: those that run (starting, running, paused, stopping, unknown), or all. */
int vm_list(Ramet *ramet, bool all, json_t **list, Error *error);

/* {"total_us","boot","stages":[…]} of its last start. */
int vm_stages(Ramet *ramet, const char *reference, json_t **stages, Error *error);

/* Gives the client's stream (borrowed: the keeper gets a duplicate) to the keeper. op is "exec",
 * "attach", "copy_in" or "copy_out"; request has the members that src/proto/keeper.h lists. The
 * VM's own environment is put before the request's "env". ERROR_CONFLICT when it does not run. On
 * success the daemon writes nothing more to the stream. */
int vm_hand_stream(Ramet *ramet, const char *reference, const char *op, const json_t *request,
                   int client_fd, Error *error);

/* The folder of its console.log and console.log.1 (opened O_PATH-free, for openat; the caller owns
 * it) and its id. */
int vm_open_folder(Ramet *ramet, const char *reference, char id[33], int *fd, Error *error);

#endif
