/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_POOL_FILL_H
#define RAMET_POOL_POOL_FILL_H

/* The thread that keeps pools filled. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "store/vms.h"

#define POOL_SNAPSHOT "snapshot"
#define POOL_IMAGE "image"

typedef struct Pools Pools;

/* After reconcile: begins to fill. Failure is logged only. */
void pools_start(Home *home);

/* Nobody makes a clone while this lock is held, but its holder. Waits as op_lock does; the lock is
 * the caller's (op_unlock). */
int pools_lock(Home *home, const char *what, int cancel_fd, OpLock **lock, Error *error);

/* What the filler knows of a pool: the snapshot that its clones grow from ("": not known yet), and
 * its last failure, the caller's, or NULL. */
void pools_get_status(Home *home, const char *source, char snapshot[VM_ID_SIZE], json_t **failure);

/* Forgets failures, so that the next try is made at once. */
void pools_reset_retry(Home *home, const char *source);

#endif
