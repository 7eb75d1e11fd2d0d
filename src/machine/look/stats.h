/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_LOOK_STATS_H
#define RAMET_MACHINE_LOOK_STATS_H

#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* What VMs use, a list of objects, the caller's: those named, or all that run. references: names or
 * ids; NULL or empty: none. With an interval their use of the processors is measured over that
 * time. ERROR_NOT_FOUND */
int vm_stats(Home *home, const Operation *operation, const json_t *references,
             uint64_t interval_usec, json_t **list, Error *error);

#endif
