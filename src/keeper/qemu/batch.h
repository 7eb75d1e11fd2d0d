/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_BATCH_H
#define RAMET_KEEPER_QEMU_BATCH_H

/* Commands for QEMU's monitor that are on their way together: QEMU runs them in order. */

#include "base/json.h"
#include "proto/plan.h"
#include "qemu/qmp.h"

#define BATCH_MAX (3 * PLAN_DISKS_MAX + 8)

typedef struct Batch {
    Qmp *qmp; /* borrowed */
    uint64_t ids[BATCH_MAX];
    size_t count;
    size_t received;
} Batch;

/* Sends one; steals the arguments, which may be NULL. fd (borrowed) goes with it; -1: none. */
int batch_add(Batch *batch, const char *command, json_t *arguments, int fd, Error *error);

/* Waits for the next `count` replies, all of them, or for all that are due, and returns the first
 * error. */
int batch_wait(Batch *batch, size_t count, Error *error);
int batch_wait_all(Batch *batch, Error *error);

#endif
