/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_SPAWN_INTERNAL_H
#define RAMET_BASE_SPAWN_INTERNAL_H

/* What spawn.c and spawn_run.c share. */

#include "base/spawn.h"

/* Do the options say what this descriptor is in the child? */
bool spawn_names_target(const SpawnOptions *options, int to);

/* Waits for a child to end; status may be NULL. */
void spawn_reap(pid_t pid, int *status);

#endif
