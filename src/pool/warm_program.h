/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_POOL_WARM_PROGRAM_H
#define RAMET_POOL_WARM_PROGRAM_H

#include "base/error.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/vms.h"

/* Starts the program of a VM that others are to be forked from, whatever its row says, and waits
 * until it is ready, as its image says. ERROR_GUEST_NOT_READY. */
int warm_program_start(Home *home, Operation *operation, const VmRow *row, Error *error);

#endif
