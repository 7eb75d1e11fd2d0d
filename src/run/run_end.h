/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_RUN_END_H
#define RAMET_RUN_RUN_END_H

/* The end of a run. */

#include "base/error.h"
#include "base/process/process.h"
#include "home/home.h"
#include "store/vms.h"

/* What refreshing found. */
typedef enum RunEnd {
    RUN_GOES_ON, /* or there was none */
    RUN_ENDED,
    RUN_REMOVED, /* ended, and the --rm VM is gone with it */
    RUN_REBOOTS, /* ended since the guest rebooted: to be started again */
} RunEnd;

/* Records the end of a run that is known to be over or about to be: waits for its keeper, ends what
 * is left, takes exit.json. */
int run_record_end(Home *home, VmRow *row, RunEnd *end, Error *error);

/* Takes what a keeper says of how the VM's program ended (its status, or exit.json) into the
 * runtime. False: nothing new. */
bool row_read_program(VmRow *row, const json_t *facts);

/* Ends one process, by identity; that it is gone already is success. who: "keeper". */
int run_end_process(const ProcessIdentity *identity, const char *who, Error *error);

/* Ends whatever process is left of a run, by identity: first the keeper, then its QEMU. */
int run_end_processes(Home *home, const VmRow *row, Error *error);

#endif
