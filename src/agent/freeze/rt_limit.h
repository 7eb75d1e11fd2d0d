/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_RT_LIMIT_H
#define RAMET_AGENT_FREEZE_RT_LIMIT_H

#include "agent/base/util.h"

/* The kernel's limit on real-time programs (sched_rt_runtime_us), lifted for a while. It comes back
 * whatever dies or hangs: by the agent, by a guard that outlives it and knows when it must be over,
 * or by the agent that comes next. */

/* Makes ready what restores it; may sleep. 0 or a negative errno. */
int rt_limit_prepare(void);

/* Until rt_limit_restore, or until that time (now_usec). Where there is no limit, or it cannot be
 * changed, nothing happens. 0, or a negative errno: it is as it was. */
int rt_limit_lift(uint64_t ends_at_usec);

/* Until then, if it is lifted. */
void rt_limit_extend(uint64_t ends_at_usec);

/* As it was before. A system call when it was lifted, none otherwise. */
void rt_limit_restore(void);

/* Restores what an agent before this one lifted and did not restore. */
void rt_limit_restore_left_over(void);

#endif
