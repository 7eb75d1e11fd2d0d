/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_H
#define RAMET_AGENT_FREEZE_H

#include "agent/util.h"

/* Freezes every file system on a disk (FIFREEZE), which also writes out what is dirty. All or
 * nothing: after a failure everything is thawed again. */
int freeze_all(Result *result);
void freeze_thaw_all(Result *result);

/* Thaws whatever is frozen: what an agent before this one left. */
void freeze_thaw_left_over(void);

/* sync(2), which may take long: a worker (worker.h). */
void freeze_sync(void *unused, int in, int out, Result *result);

#endif
