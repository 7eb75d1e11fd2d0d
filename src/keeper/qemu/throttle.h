/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_THROTTLE_H
#define RAMET_KEEPER_QEMU_THROTTLE_H

/* What the guest may read and write a second, by QEMU's own throttling, which holds for whatever
 * file a disk is in. The limits are the plan's (io_bytes, io_ops), of each disk. */

#include "keeper/qemu/batch.h"
#include "keeper/qemu/machine.h"

/* Before the guest runs: adds the commands; none without limits. */
int throttle_add(const Plan *plan, Batch *batch, Error *error);

/* While it runs: also ends them. */
int throttle_set(Machine *machine, const Plan *plan, Error *error);

#endif
