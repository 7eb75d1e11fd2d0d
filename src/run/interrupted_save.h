/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_INTERRUPTED_SAVE_H
#define RAMET_RUN_INTERRUPTED_SAVE_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/vms.h"

/* After a crash in the middle of standby or of a snapshot, with the status of the keeper that lives
 * on: ends the disk's freezing; *go_on is set when the VM was left paused and must go on. NULL
 * for a keeper that is gone. */
int run_recover_save(Home *home, VmRow *row, const json_t *status, bool *go_on, Error *error);

#endif
