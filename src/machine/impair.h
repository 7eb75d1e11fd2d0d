/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_IMPAIR_H
#define RAMET_MACHINE_IMPAIR_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/impairment.h"

/* What is wrong, from now on, with the network of that name or else with the VM's place in its
 * networks: all zero for nothing any more. {"target","impair"} is the answer. ERROR_NOT_FOUND;
 * ERROR_CONFLICT for a VM that is in no network with a name. */
int impair(Home *home, Operation *operation, const char *target, const Impairment *impairment,
           json_t **answer, Error *error);

#endif
