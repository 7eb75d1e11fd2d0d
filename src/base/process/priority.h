/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PROCESS_PRIORITY_H
#define RAMET_BASE_PROCESS_PRIORITY_H

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

/* Of one thread: the kernel lets it run before others as soon as it wakes, as one that needs the
 * processor for a moment only (a slice of its own, sched_setattr(2), since Linux 6.12; earlier ones
 * take no notice). Its nice value stays. -ESRCH, or -EPERM where one may not. */
int priority_set_hasty(pid_t thread, bool hasty);

/* As priority_set_session, of our own, if we began it. What we start does not inherit it. To be
 * called before there are other threads. */
int priority_set_own(int nice);

#endif
