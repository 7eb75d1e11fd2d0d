/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_OP_LOCK_H
#define RAMET_HOME_OP_LOCK_H

/* One operation at a time for each VM, known by its id, and for what else has a lock: networks by
 * theirs, labs by their names (lab/lab_lock.h). */

#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"

typedef struct OpLocks OpLocks;
typedef struct OpLock OpLock;

#define OP_LOCK_WAIT_USEC (300 * USEC_PER_SEC)

OpLocks *op_locks_new(void);
void op_locks_free(OpLocks *locks);

/* What: "being started"; for the message of those who wait. Waits in order of arrival, at most
 * OP_LOCK_WAIT_USEC (ERROR_CONFLICT), or until cancel_fd (ERROR_CANCELLED). */
int op_lock(OpLocks *locks, const char *id, const char *what, int cancel_fd, OpLock **lock,
            Error *error);
OpLock *op_unlock(OpLock *lock);
static inline void op_unlock_p(OpLock **lock) {
    (void)op_unlock(*lock);
}
#define _cleanup_op_lock_ _cleanup_(op_unlock_p)

/* Readable once somebody called op_lock_abort: a start ends early then. Borrowed. */
int op_lock_abort_fd(const OpLock *lock);
bool op_lock_aborted(const OpLock *lock);

/* Asks the holder of a VM's lock, if there is one, to give up. */
void op_lock_abort(OpLocks *locks, const char *id);

/* Is the VM's lock held by one who said so when locking it? */
#define OP_TAKING_OVER "being taken over" /* reconcile: it was not looked at yet */
bool op_lock_is_held_for(OpLocks *locks, const char *id, const char *what);

#endif
