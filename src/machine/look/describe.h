/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_LOOK_DESCRIBE_H
#define RAMET_MACHINE_LOOK_DESCRIBE_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/vms.h"

/* The memory that this VM's QEMU alone holds. Negative errno when it cannot be read. */
int row_private_bytes(const VmRow *row, uint64_t *bytes);

/* The row as the contract's JSON. */
int vm_describe(Home *home, const VmRow *row, json_t **vm, Error *error);

/* The same where the caller may not want it: vm NULL is fine. */
int vm_answer(Home *home, const VmRow *row, json_t **vm, Error *error);

#endif
