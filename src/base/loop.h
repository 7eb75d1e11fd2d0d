/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_LOOP_H
#define RAMET_BASE_LOOP_H

/* A small event loop over epoll(7), for single-threaded programs (the keeper and the tests). Timers
 * are exact to the microsecond: the wait ends when the next one is due. Handlers may add and remove
 * any source, also their own. */

#include <stdbool.h>
#include <sys/epoll.h>

#include "base/error.h"

typedef struct Loop Loop;
typedef struct LoopSource LoopSource;

typedef void (*LoopFdHandler)(void *data, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP … */
typedef void (*LoopTimerHandler)(void *data);

int loop_new(Loop **loop);
void loop_free(Loop *loop); /* frees its sources too; does not close their descriptors */
DEFINE_CLEANUP(Loop *, loop_free);

/* Watches fd (borrowed). Returns the source, owned by the loop until loop_remove; NULL
 * and errno when the descriptor cannot be watched (a regular file). */
LoopSource *loop_add_fd(Loop *loop, int fd, uint32_t events, LoopFdHandler handler, void *data);
int loop_set_events(LoopSource *source, uint32_t events);

/* Calls once at the monotonic time. What a handler sets is called in the next round at the
 * earliest. Never NULL. */
LoopSource *loop_add_timer(Loop *loop, uint64_t when_usec, LoopTimerHandler handler, void *data);
void loop_set_timer(LoopSource *source, uint64_t when_usec); /* again, or UINT64_MAX: never */

/* NULL is fine. Always returns NULL. */
LoopSource *loop_remove(LoopSource *source);

/* A descriptor with its place in the loop. */
typedef struct Watched {
    int fd;             /* owned; -1: closed */
    LoopSource *source; /* owned by the loop */
} Watched;

/* As loop_add_fd, for its descriptor: 0 or a negative errno. close takes it out of the loop, too.
 */
int watched_add(Loop *loop, Watched *watched, uint32_t events, LoopFdHandler handler, void *data);
void watched_close(Watched *watched);

/* Called at the end of each round, when all its handlers have run. */
void loop_set_after_round(Loop *loop, LoopTimerHandler handler, void *data);

/* Runs until loop_quit; or one round, waiting at most until the deadline. 0 or a negative errno. */
int loop_run(Loop *loop);
int loop_run_once(Loop *loop, uint64_t deadline_usec);
void loop_quit(Loop *loop);

#endif
