/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_PROOF_H
#define RAMET_PROVE_PROOF_H

/* What is known so far, and the calls of the API that find out more. */

#include "base/json.h"
#include "proto/api/api.h"
#include "proto/api/http_client.h"

typedef struct ProveClone {
    char id[33];
    char name[128];
    json_t *facts;            /* owned: what the guest, the daemon and the keeper say of it */
    double least_ms, most_ms; /* its clock is that much ahead of the host's, at least and at most */
} ProveClone;

typedef struct Proof {
    const char *socket; /* borrowed: the API's */
    HttpLineHandler on_event;
    void *data;          /* borrowed, for on_event */
    json_t *snapshot;    /* owned */
    uint64_t ready_usec; /* monotonic: when all clones were there */
    size_t count;
    ProveClone *clones; /* owned */
    json_t *checks;     /* owned */
    json_t *frozen;     /* owned */
    bool ok;
} Proof;

/* Its checks hold so far. on_event (may be NULL) hears of stages. Leaves nothing. */
void proof_init(Proof *proof, const char *socket, HttpLineHandler on_event, void *data);
void proof_free(Proof *proof);

/* Tells: {"event":"stage","name"}. */
void proof_enter(const Proof *proof, const char *stage);

/* Room for so many clones, of which there are none yet; and one of them, with facts (taken over)
 * that begin as these. */
void proof_make_room(Proof *proof, size_t count);
void proof_add_clone(Proof *proof, const char *id, const char *name, json_t *facts);

/* One call with a JSON answer. argument, query, body (borrowed) and answer may be NULL. */
int proof_call(const Proof *proof, ApiId id, const char *argument, const char *query,
               const json_t *body, json_t **answer, Error *error);

/* Forks clones that live as long as *stream is open, the caller's: [{"id","name"}]. */
int proof_fork(const Proof *proof, const char *source, const char *name, unsigned count,
               int *stream, json_t **vms, Error *error);

/* Removes a VM; one that is gone already is no error. */
int proof_remove(const Proof *proof, const char *id, Error *error);

/* One line of the report. problem NULL: it holds, and `good` says how. */
void proof_add(Proof *proof, const char *what, const char *problem, const char *good);

#endif
