/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LAUNCH_H
#define RAMET_RUN_LAUNCH_H

/* One attempt to start a VM. */

#include "base/error.h"
#include "base/process/process.h"
#include "home/home.h"
#include "home/operation.h"
#include "run/restore.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* One attempt to boot cold, of which `earlier` were silent: each gets twice as much time of the
 * processor to say something. On success the row has the processes and everything else about the
 * run; on failure no process is left. cancel_fd: the client or an abort. *silent: it failed since
 * the guest's console said nothing. */
int vm_launch(Home *home, Operation *operation, VmRow *row, unsigned earlier, int cancel_fd,
              bool *silent, Error *error);

/* One attempt; vm_launch with restore NULL boots cold. */
int vm_launch_from(Home *home, Operation *operation, VmRow *row, const Restore *restore,
                   int cancel_fd, bool *silent, Error *error);

/* Tells the keeper of a warm VM who it is now (keep: as Restore has it). On failure the keeper
 * ends.
 */
int vm_claim(Home *home, Operation *operation, VmRow *row, bool keep, int cancel_fd, Error *error);

#endif
