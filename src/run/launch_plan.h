/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_LAUNCH_PLAN_H
#define RAMET_RUN_LAUNCH_PLAN_H

/* The plan of a start. */

#include "base/error.h"
#include "base/process/process.h"
#include "home/home.h"
#include "home/operation.h"
#include "proto/plan.h"
#include "qemu/features.h"
#include "run/launch_files.h"
#include "run/restore.h"
#include "store/vms.h"

/* Everything that one attempt holds. */
typedef struct Launch {
    Home *home;             /* borrowed */
    Operation *operation;   /* borrowed */
    VmRow *row;             /* borrowed */
    const Restore *restore; /* borrowed; NULL: a cold boot */
    unsigned earlier;       /* cold boots before this one of which nothing was heard */
    QemuFeatures features;
    const char *accel; /* static */
    int dir_fd;        /* owned: the VM's folder */
    LaunchFiles files;
    Plan plan;
    ProcessIdentity keeper;
    pid_t qemu; /* the keeper's child, of the zygote; 0: it has none yet */
    bool heard; /* the guest gave a sign of life */
} Launch;

void launch_free(Launch *launch);

/* The memory that the guest's lies over, and what the row shall say of it. */
int launch_plan_memory(Launch *launch, Error *error);

/* Network, identity and the keeper's bounds: what a clone that is claimed gets, too. */
void launch_plan_who(Launch *launch);

/* All but the memory. */
int launch_make_plan(Launch *launch, Error *error);

#endif
