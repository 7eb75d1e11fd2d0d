/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_POOL_STATE_H
#define RAMET_POOL_POOL_STATE_H

/* What the filler knows of each pool, by its source. */

#include "base/json.h"
#include "store/store.h"
#include "store/vms.h"

typedef struct PoolStates PoolStates;
PoolStates *pool_states_new(void);
void pool_states_free(PoolStates *states);

/* As pools_get_status and pools_reset_retry. */
void pool_states_get(PoolStates *states, const char *source, char snapshot[VM_ID_SIZE],
                     json_t **failure);
void pool_states_reset_retry(PoolStates *states, const char *source);

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

#endif
