/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_RUN_H
#define RAMET_VERBS_RUN_H

#include "base/error.h"
#include "home/home.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "store/vms.h"

/* The first start of a VM that was made and never started. */
int vm_start_first(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error);

#endif
