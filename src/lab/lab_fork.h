/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_FORK_H
#define RAMET_LAB_LAB_FORK_H

/* Copies of a lab that was frozen at one moment. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

#define LAB_FORK_COUNT_MAX 64

typedef struct LabForkOptions {
    const char *source; /* a lab's snapshot, or a lab that runs, which is frozen first */
    const char *name; /* of a single copy; of several, NAME-1 …; NULL: the source's, and then the
                         first numbers that are free */
    unsigned count;
    bool clone_volumes; /* of a lab that runs: copies of volumes that its VMs write to */
} LabForkOptions;

/* Each copy comes as a whole or not at all. *answer: {"snapshot" (null: of a lab that runs),
 * "labs":[as lab_inspect has them],"errors":[{"name","error"}]}. An error where no copy came.
 * ERROR_NOT_FOUND, ERROR_CONFLICT */
int lab_fork(Home *home, Operation *operation, const LabForkOptions *options, json_t **answer,
             Error *error);

#endif
