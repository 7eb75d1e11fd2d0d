/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_HOT_OF_CLONE_H
#define RAMET_FROZEN_HOT_OF_CLONE_H

#include "home/home.h"

/* The sealed memfd of snapshot `id` that some clone maps; -ENOENT: there is none. The descriptor is
 * the caller's. */
int hot_memory_open_of_clone(Home *home, const char *id);

/* Opens what lies behind /proc/PID/fd/N when it is a sealed memfd. Never waits, whatever it is:
 * -EINVAL. The descriptor is the caller's. */
int hot_memory_open_sealed(const char *path);

#endif
