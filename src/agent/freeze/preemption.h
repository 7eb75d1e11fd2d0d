/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_PREEMPTION_H
#define RAMET_AGENT_FREEZE_PREEMPTION_H

#include <stdbool.h>

/* Tells whether this thread was preempted, or gave up its CPU, since a certain moment, for however
 * short a time: somebody else may have run then. Both calls are memory accesses, no system calls.
 */

/* To be called once before, and again in a process that was forked. False: the kernel cannot tell
 * (before Linux 4.18, or without CONFIG_RSEQ). */
bool preemption_open(void);

/* From here on. */
void preemption_arm(void);

/* It had not the CPU all the time. */
bool preemption_happened(void);

#endif
