/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PARALLEL_H
#define RAMET_BASE_PARALLEL_H

/* One piece of work by several threads, which share out its parts among themselves. */

#include <stddef.h>

#define PARALLEL_MAX 64

/* Calls work(data) in `threads` threads at once (at least one, at most PARALLEL_MAX), of which the
 * caller's is one, and returns when all have returned. A thread that cannot be made is one that
 * does not help. */
void parallel_run(size_t threads, void (*work)(void *data), void *data);

/* The processors that are online, but `most` at most. */
size_t parallel_threads(size_t most);

#endif
