/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_KEEPER_CALL_H
#define RAMET_RUN_KEEPER_CALL_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/vms.h"

/* One request to the keeper of a VM, without descriptors, whose answer is only that it was done. */
int vm_call_keeper(Home *home, const VmRow *row, const json_t *request, uint64_t timeout_usec,
                   int cancel_fd, Error *error);

#endif
