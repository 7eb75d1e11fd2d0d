/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_KEEPER_STATUS_H
#define RAMET_RUN_KEEPER_STATUS_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "run/run_end.h"
#include "store/vms.h"

/* For a caller that holds the lock: asks the keeper; when it is gone, records the end of the run.
 * *end is untouched while it goes on; vm_finish_run acts on it. */
int run_refresh(Home *home, VmRow *row, RunEnd *end, Error *error);

/* The same of the memory that the VM maps since it adopted a snapshot's, if it did. */
void row_read_memory(Home *home, VmRow *row, const json_t *facts);

/* Takes what a keeper says of a run (its answer to start or status) into the runtime. */
void row_read_facts(VmRow *row, const json_t *facts);

#endif
