/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_POOL_INTERNAL_H
#define RAMET_VM_POOL_INTERNAL_H

/* What the files about pools share with each other and with the rest of src/vm. */

#include "store/pools.h"
#include "vm/pool.h"
#include "vm/snapshot_internal.h"

#define POOL_SNAPSHOT "snapshot"
#define POOL_IMAGE "image"

/* What a warm clone is taken to need before one was measured. */
#define POOL_CLONE_BYTES (24 * MIB)

/* --- pool_fill.c: the thread that keeps pools filled -------------------------------------------
 */

typedef struct Pools Pools;

/* After reconcile: begins to fill. Failure is logged only. */
void pools_start(Ramet *ramet);

/* Before the watcher ends. Clones stay. */
void pools_stop(Ramet *ramet);

/* Something changed: a clone was claimed or died, a pool was set. Cheap; NULL pools are fine. */
void pools_kick(Ramet *ramet);

/* Nobody makes a clone while this lock is held, but its holder. Waits as op_lock does; the lock is
 * the caller's (op_unlock). */
int pools_lock(Ramet *ramet, const char *what, int cancel_fd, OpLock **lock, Error *error);

/* What the filler knows of a pool: the snapshot that its clones grow from ("": not known yet), and
 * its last failure, the caller's, or NULL. */
void pools_look(Ramet *ramet, const char *source, char snapshot[VM_ID_SIZE], json_t **failure);

/* Forgets failures, so that the next try is made at once. */
void pools_forgive(Ramet *ramet, const char *source);

/* --- pool_state.c: what the filler knows of each pool, by its source ---------------------------
 */

typedef struct PoolStates PoolStates;
PoolStates *pool_states_new(void);
void pool_states_free(PoolStates *states);

/* As pools_look and pools_forgive. */
void pool_states_look(PoolStates *states, const char *source, char snapshot[VM_ID_SIZE],
                      json_t **failure);
void pool_states_forgive(PoolStates *states, const char *source);

/* The snapshot that its clones grow from; and whether they may grow from this one, which is so
 * until it is known. */
void pool_states_note_snapshot(PoolStates *states, const char *source, const char *snapshot);
bool pool_states_may_want(PoolStates *states, const char *source, const char *snapshot);

/* A clone could not be made (failure is borrowed): the next try has to wait, from time to time
 * longer. */
void pool_states_note_failure(PoolStates *states, const char *source, json_t *failure);
bool pool_states_may_try(PoolStates *states, const char *source);

/* When the first of those that wait may be tried again; UINT64_MAX: none waits. */
uint64_t pool_states_next_retry(PoolStates *states);

/* True: it is full, and was not the last time. */
bool pool_states_note_full(PoolStates *states, const char *source, bool full);

/* Forgets pools that are no more: they need no retry that wakes us. */
void pool_states_forget(PoolStates *states, Store *store);

/* --- pool_clone.c ------------------------------------------------------------------------------
 */

typedef struct Clones {
    VmRow *rows; /* owned: all VMs, oldest first */
    size_t count;
} Clones;
void clones_free(Clones *clones);

/* How many are warm of a snapshot, and what all warm ones hold in memory. */
uint64_t clones_count(const Clones *clones, const char *snapshot);
uint64_t clones_sum_bytes(const Clones *clones);

/* Makes a warm clone of a pinned snapshot; on failure nothing is left. */
int pool_make_clone(Ramet *ramet, const SnapshotRow *snapshot, int cancel_fd, Error *error);

/* Removes one, unless it is gone or was claimed meanwhile, which is success. */
int pool_remove_clone(Ramet *ramet, const char *id, int cancel_fd, Error *error);

/* Removes warm clones of a snapshot but for `keep`, the newest first. With the pools' lock. */
int pool_trim(Ramet *ramet, const char *snapshot, uint64_t keep, int cancel_fd, Error *error);

/* --- pool.c ------------------------------------------------------------------------------------
 */

/* ERROR_CONFLICT when there is a pool of the snapshot or image. */
int pool_check_absent(Ramet *ramet, const char *source, const char *what, const char *name,
                      Error *error);

/* Ends the pool, if there is one, of a snapshot that is about to go with all that grows from it. */
int pool_forget(Ramet *ramet, const Operation *operation, const char *snapshot, Error *error);

/* --- pool_claim.c ------------------------------------------------------------------------------
 */

/* Lets a warm clone of the pinned snapshot become the VM that was planned: name, image,
 * specification. 1: the row (still `creating`; the caller sets its state) and its lock. 0: there is
 * none, or the one that there was failed, which was told and is in *failure (the caller's; freed
 * first). Negative: the request itself cannot be served (name or port taken, cancelled). The caller
 * calls pools_kick once it has served its client: a refill beside that would make it late. */
int pool_claim(Ramet *ramet, Operation *operation, const SnapshotRow *snapshot,
               const VmRow *planned, OpLock **lock, VmRow *row, json_t **failure, Error *error);

/* launch.c: tells the keeper of a warm VM who it is now. On failure the keeper ends. */
int vm_claim(Ramet *ramet, Operation *operation, VmRow *row, int cancel_fd, Error *error);

#endif
