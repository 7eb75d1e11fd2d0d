/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_STORE_H
#define RAMET_STORE_STORE_H

/* What the daemon remembers: one SQLite file, one connection behind a mutex. This folder holds the
 * only SQL of the project; each table has a file of its own. Functions may be called by any thread.
 */

#include "base/error.h"

typedef struct Store Store;

Store *store_close(Store *store); /* NULL is fine; returns NULL */

static inline void store_close_p(Store **store) {
    (void)store_close(*store);
}

/* Several changes as one. The thread that began it holds the store alone until it commits or rolls
 * back; every other call of that thread in between belongs to it. Not nested. */
int store_begin(Store *store, Error *error);
int store_commit(Store *store, Error *error); /* on failure it is rolled back */
void store_rollback(Store *store);

/* The same for what may be within a transaction of this thread or not. end: r as it came, and below
 * 0 nothing of it stays; else of the end itself. */
int store_nest(Store *store, Error *error);
int store_nest_end(Store *store, int r, Error *error);

/* What was committed so far survives a power cut once this returns. Costs an fsync or two: for
 * steps after which the old state cannot come back. */
int store_sync(Store *store, Error *error);

#endif
