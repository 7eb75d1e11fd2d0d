/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TEND_SCHEDULE_H
#define RAMET_TEND_SCHEDULE_H

#include "base/error.h"
#include "home/home.h"
#include "store/vms.h"

/* For a caller that holds the VM's lock, when a snapshot of its schedule is due: takes it where the
 * VM runs, and removes the oldest of the schedule's that are too many and from which nothing grows.
 * The next is due a whole period from now, so what was missed is not made up for. */
int schedule_snapshot(Home *home, VmRow *row, Error *error);

#endif
