/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_LOOP_JOB_H
#define RAMET_KEEPER_TASKS_LOOP_JOB_H

/* Work that takes long, in a thread of its own, while the loop goes on. */

#include "base/loop.h"

typedef struct LoopJob LoopJob; /* opaque */
typedef void (*LoopJobCall)(void *data);

/* Calls work(data) in a thread, and when it has returned done(data) in the loop. The job is gone
 * when done is called. */
int loop_job_start(Loop *loop, LoopJobCall work, LoopJobCall done, void *data, LoopJob **job,
                   Error *error);

/* Waits until work has returned; done is not called any more. NULL is fine. Always returns NULL. */
LoopJob *loop_job_wait(LoopJob *job);

#endif
