/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_FS_FREEZE_H
#define RAMET_AGENT_FREEZE_FS_FREEZE_H

#include "agent/base/util.h"

/* Freezes every file system on a disk (FIFREEZE), which also writes out what is dirty. All or
 * nothing: after a failure everything is thawed again. What the guest has frozen itself is left to
 * it, also by the thaw. */
int fs_freeze_all(Result *result);
void fs_thaw_all(Result *result);

/* Thaws what an agent before this one froze and did not thaw. */
void fs_thaw_left_over(void);

/* sync(2), which may take long: a worker (worker.h). */
void fs_sync(void *unused, int in, int out, Result *result);

#endif
