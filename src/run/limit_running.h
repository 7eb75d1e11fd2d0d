/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LIMIT_RUNNING_H
#define RAMET_RUN_LIMIT_RUNNING_H

#include "home/home.h"
#include "store/vms.h"

/* Has a VM that runs (or is warm) keep the limits of its row, and lose those that the row has no
 * more. The row may be written. */
int vm_limit_running(Home *home, VmRow *row, Error *error);

#endif
