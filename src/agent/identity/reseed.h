/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_RESEED_H
#define RAMET_AGENT_IDENTITY_RESEED_H

#include <stddef.h>

/* Random number generators in user space go on from where they were, so that a program which ran in
 * the source draws the same numbers in each of its clones. OpenSSL's takes new numbers from the
 * kernel when getpid() returns another number than before: it takes that for a fork. Here it gets
 * to believe that. See docs/clones.md for what this covers and what it does not. */

/* Before a snapshot: finds the programs that have OpenSSL's library loaded and the place to change
 * in each. Best effort; nothing is changed. Returns how many were found. proc: "/proc", or what has
 * folders like those of proc(5). */
size_t reseed_prepare(const char *proc);

/* In a clone, after the kernel's own numbers are its own and before the programs run again. */
void reseed_apply(void);

/* The source goes on, or the clone does. */
void reseed_forget(void);

#endif
