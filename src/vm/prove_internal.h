/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_PROVE_INTERNAL_H
#define RAMET_VM_PROVE_INTERNAL_H

/* Between the files of `snapshot prove`: prove.c (the order of things), prove_guest.c (what is
 * asked of a clone), prove_frozen.c (what must not change), prove_check.c (what is right). */

#include "vm/snapshot_internal.h"

typedef struct ProveClone {
    char id[VM_ID_SIZE];
    char name[64];
    int stream;               /* owned: while it is open, the clone lives */
    json_t *facts;            /* owned: what the guest, the daemon and the keeper say of it */
    double least_ms, most_ms; /* its clock is that much ahead of the host's, at least and at most */
} ProveClone;

typedef struct Prove {
    Ramet *ramet;         /* borrowed */
    Operation *operation; /* borrowed */
    SnapshotRow snapshot; /* owned, pinned */
    bool pinned;
    uint64_t forked_usec; /* monotonic: when the fork was asked for */
    size_t count;
    ProveClone *clones; /* owned */
    json_t *checks;     /* owned */
    json_t *frozen;     /* owned */
    bool ok;
} Prove;

/* prove_check.c: one line of the report. message NULL: it holds, and `good` says how. */
void prove_add(Prove *prove, const char *what, const char *problem, const char *good);

/* That a member of the clones' facts is there and different in each; optional: it may lack in all.
 */
void prove_check_distinct(Prove *prove, const char *key, const char *what, bool optional);
void prove_check_addresses(Prove *prove);
void prove_check_clocks(Prove *prove);
void prove_check_restored(Prove *prove);

/* prove_guest.c: runs a shell script in a VM. *out is the caller's; a failing script is an error.
 */
int prove_run(Prove *prove, const char *vm, const char *script, char **out, Error *error);

/* The clone's facts, random bytes first. */
int prove_ask(Prove *prove, ProveClone *clone, Error *error);

/* Narrows down how far the clone's clock is off. */
int prove_ask_clock(Prove *prove, ProveClone *clone, Error *error);

/* Which of the clones' memory mark and disk mark the VM sees: "MARK DISK". *out as above. */
int prove_write_mark(Prove *prove, const char *vm, const char *mark, Error *error);
int prove_read_mark(Prove *prove, const char *vm, char **mark, Error *error);

/* prove_frozen.c: remembers inode and SHA-256 of all that the snapshot stands on; and compares.
 * when: "while they run". */
int prove_freeze_frame(Prove *prove, Error *error);
void prove_check_frozen(Prove *prove, const char *when);

#endif
