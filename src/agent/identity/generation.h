/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_GENERATION_H
#define RAMET_AGENT_IDENTITY_GENERATION_H

#include <stdint.h>

#define GENERATION_SIZE 16
#define GENERATION_FILE "/run/ramet/generation"

/* GENERATION_FILE has 32 hexadecimal digits and a newline, others in each VM, and others after each
 * fork, claim and resume: what programs watch that must notice that they were copied. It is
 * changed in place, always before another program runs, so who has it open or mapped sees it, and
 * nobody ever sees half of it. */

/* Before a snapshot: makes that a clone needs no system call to change it. */
void generation_prepare(void);

/* 0 or a negative errno. */
int generation_set(const uint8_t id[GENERATION_SIZE]);

/* Wakes those who watch the file (inotify(7), IN_MODIFY), if it was set since the last time. */
void generation_announce(void);

#endif
