/* SPDX-License-Identifier: Apache-2.0 */

/* What is known of each pool beside its row: which snapshot its clones grow from, whether it is
 * full, and how its last tries went. The filler writes it, requests read it, and none of it
 * outlives the daemon: a new one finds all of it out again.
 *
 * A state is made when it is first asked for, and goes some time after its pool. */

#include "pool/pool_state.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "store/pools.h"
#include "store/store.h"
#include "store/vms.h"

#define RETRY_MAX_USEC (60 * USEC_PER_SEC)

typedef struct PoolState {
    char source[64];
    char snapshot[VM_ID_SIZE]; /* that its clones grow from; empty: not known yet */
    bool full;                 /* and that was told */
    unsigned failures;
    uint64_t retry_usec;
    json_t *failure; /* owned */
    struct PoolState *next;
} PoolState;

struct PoolStates {
    pthread_mutex_t mutex;
    PoolState *first; /* owned */
};

PoolStates *pool_states_new(void) {
    PoolStates *states = calloc(1, sizeof(*states));
    if (!states)
        abort();
    (void)pthread_mutex_init(&states->mutex, NULL);
    return states;
}

static void free_state(PoolState *state) {
    json_decref(state->failure);
    free(state);
}

void pool_states_free(PoolStates *states) {
    while (states->first) {
        PoolState *state = states->first;
        states->first = state->next;
        free_state(state);
    }
    (void)pthread_mutex_destroy(&states->mutex);
    free(states);
}

/* With the mutex from here on, until `leave`. */
static PoolState *enter(PoolStates *states, const char *source) {
    PoolState *state;
    (void)pthread_mutex_lock(&states->mutex);
    for (state = states->first; state; state = state->next)
        if (str_equal(state->source, source))
            return state;
    state = calloc(1, sizeof(*state));
    if (!state)
        abort();
    (void)snprintf(state->source, sizeof(state->source), "%s", source);
    state->next = states->first;
    states->first = state;
    return state;
}

static void leave(PoolStates *states) {
    (void)pthread_mutex_unlock(&states->mutex);
}

void pool_states_get(PoolStates *states, const char *source, char snapshot[VM_ID_SIZE],
                     json_t **failure) {
    const PoolState *state = enter(states, source);
    (void)snprintf(snapshot, VM_ID_SIZE, "%s", state->snapshot);
    *failure = json_incref(state->failure);
    leave(states);
}

void pool_states_reset_retry(PoolStates *states, const char *source) {
    PoolState *state = enter(states, source);
    json_decref(state->failure);
    state->failure = NULL;
    state->failures = 0;
    state->retry_usec = 0;
    state->full = false;
    leave(states);
}

bool pool_states_may_try(PoolStates *states, const char *source) {
    bool may = enter(states, source)->retry_usec <= clock_monotonic_usec();
    leave(states);
    return may;
}

void pool_states_note_snapshot(PoolStates *states, const char *source, const char *snapshot) {
    (void)snprintf(enter(states, source)->snapshot, VM_ID_SIZE, "%s", snapshot);
    leave(states);
}

void pool_states_note_failure(PoolStates *states, const char *source, json_t *failure) {
    PoolState *state = enter(states, source);
    uint64_t wait_usec = (uint64_t)USEC_PER_SEC << MIN_OF(state->failures, 10u);
    json_decref(state->failure);
    state->failure = json_incref(failure);
    state->retry_usec = clock_monotonic_usec() + MIN_OF(wait_usec, RETRY_MAX_USEC);
    state->failures++;
    state->full = false;
    leave(states);
}

bool pool_states_note_full(PoolStates *states, const char *source, bool full) {
    PoolState *state = enter(states, source);
    bool news = full && !state->full;
    state->full = full;
    leave(states);
    return news;
}

bool pool_states_may_want(PoolStates *states, const char *source, const char *snapshot) {
    const PoolState *state = enter(states, source);
    bool may = !*state->snapshot || str_equal(state->snapshot, snapshot);
    leave(states);
    return may;
}

uint64_t pool_states_next_retry(PoolStates *states) {
    uint64_t next = UINT64_MAX;
    (void)pthread_mutex_lock(&states->mutex);
    for (const PoolState *state = states->first; state; state = state->next)
        if (state->retry_usec > 0)
            next = MIN_OF(next, state->retry_usec);
    (void)pthread_mutex_unlock(&states->mutex);
    return next;
}

void pool_states_forget(PoolStates *states, Store *store) {
    PoolState **link = &states->first;
    PoolRow row;
    (void)pthread_mutex_lock(&states->mutex);
    while (*link) {
        PoolState *state = *link;
        if (pools_get(store, state->source, &row, NULL) != -ENOENT) {
            link = &state->next;
            continue;
        }
        *link = state->next;
        free_state(state);
    }
    (void)pthread_mutex_unlock(&states->mutex);
}
