/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PRIORITY_H
#define RAMET_BASE_PRIORITY_H

/* Nice values (setpriority(2): less is sooner) of whole sessions. Where the kernel shares the
 * processors among sessions first (autogroups, sched(7)), the session's own is set, too. Only root
 * can put a session before others, or take a lower priority back. */

#include <stdbool.h>
#include <sys/types.h>

/* What this process began with, and what it starts begins with, too. */
int priority_base(void);

/* Whether we may put a session before others; who may not can take no lower priority back either.
 */
bool priority_may_raise(void);

/* Of the session that `leader` began, relative to priority_base: all threads of its process group.
 * -ESRCH, or -EACCES or -EPERM where one may not. */
int priority_set_session(pid_t leader, int nice);

/* The same of our own session, if we began it. What we start does not inherit it. To be called
 * before there are other threads. */
int priority_set_own(int nice);

#endif
