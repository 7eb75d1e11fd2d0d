/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_STOP_H
#define RAMET_MACHINE_STOP_H

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "run/run_end.h"
#include "store/vms.h"

/* For a caller that holds the lock: op is "stop" (agent, power off, kill: each with its share of
 * the time), "kill", or "abandon" (of one that is to be removed: what its guest holds of its
 * volumes is written first). end may be NULL. */
int vm_stop_locked(Home *home, VmRow *row, const char *op, uint64_t timeout_usec, int cancel_fd,
                   RunEnd *end, Error *error);

/* After a "stop": tells whoever asked when the guest had to be killed for it. */
void vm_note_killed(Operation *operation, const VmRow *row);

#endif
