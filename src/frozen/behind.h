/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_BEHIND_H
#define RAMET_FROZEN_BEHIND_H

#include "home/home.h"

/* Does, in a thread that gives way to others, what snapshots can be forked without: writes memory
 * that is hot memory only to its file, some seconds after it was saved or when the home is closed,
 * and computes the digests of all memory that has none. */
void snapshots_finish_later(Home *home);

#endif
