/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_LOCK_H
#define RAMET_BASE_LOCK_H

/* Exclusive locks between threads and processes: flock(2) on a file of their own, each holder with
 * its own open file description, O_CLOEXEC so that no child keeps the lock. The file is removed by
 * nobody: removing a lock file races with those who wait on it. */

#include "base/error.h"

/* Locks FOLDER/KEY.lock (made with mode 0600). Waits at most until the monotonic deadline;
 * UINT64_MAX waits for ever. cancel_fd (-1: none) readable or hung up ends the wait with
 * -ECANCELED; the deadline with -ETIMEDOUT. A lock that becomes free is noticed within 20 ms.
 * Returns 0 and the descriptor in *fd: closing it
 * unlocks. */
int lock_acquire(const char *folder, const char *key, uint64_t deadline_usec, int cancel_fd,
                 int *fd, Error *error);

/* Takes it only if it is free; -EWOULDBLOCK (not an Error) when held. */
int lock_try(const char *folder, const char *key, int *fd);

#endif
