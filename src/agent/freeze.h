/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_H
#define RAMET_AGENT_FREEZE_H

#include "agent/util.h"

/* Workers (worker.h). Freezing is all or nothing: after a failure everything is thawed again. */
void freeze_all(void *unused, int in, int out, Result *result);
void freeze_thaw_all(void *unused, int in, int out, Result *result);
void freeze_sync(void *unused, int in, int out, Result *result);

#endif
