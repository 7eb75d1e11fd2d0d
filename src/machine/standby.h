/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_STANDBY_H
#define RAMET_MACHINE_STANDBY_H

/* For callers that hold the lock. */

#include "base/error.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/vms.h"

/* Puts one that was idle into standby, from which it wakes when it is wanted. Its doors
 * (network/doors.h) are shut first, and clients that come from then on wait for the lock; then
 * still_idle is asked, whose no lets it run on: 0, and the state says what came of it. */
typedef bool (*StillIdle)(Home *home, const VmRow *row);
int vm_doze_locked(Home *home, Operation *operation, VmRow *row, StillIdle still_idle,
                   Error *error);

/* Lets a VM in standby go on where it was. */
int vm_resume_locked(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* At the daemon's start: ends what still runs of a VM in standby. */
int vm_reconcile_standby(Home *home, VmRow *row, Error *error);

/* Forgets what it had in memory: it is stopped then. */
int vm_discard_standby(Home *home, VmRow *row, Error *error);

#endif
