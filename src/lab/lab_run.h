/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LAB_LAB_RUN_H
#define RAMET_LAB_LAB_RUN_H

/* The `run` of a lab's VM: a shell's line in the guest's background, with the console as its
 * output. It takes the place of the program that the VM's image may have. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* NULL: nothing is to be run. vm: a name or an id. It returns once the line has begun. */
int lab_run_command(Home *home, Operation *operation, const char *vm, const char *line,
                    Error *error);

/* After a `start` or `restart` of any VM (as they answer): one of a lab that booted, and does not
 * go on from its memory, gets its `run` again. */
int lab_run_again(Home *home, Operation *operation, const json_t *vm, Error *error);

#endif
