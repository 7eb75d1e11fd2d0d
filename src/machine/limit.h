/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_LIMIT_H
#define RAMET_MACHINE_LIMIT_H

#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* What each card of the VM may use of its network from now on, as net_limit_parse has it ("": no
 * limit); it goes with the VM's specification. ERROR_CONFLICT: it is in no network with a name;
 * ERROR_UNSUPPORTED: its network has no switch. */
int vm_limit(Home *home, Operation *operation, const char *reference, const char *text, json_t **vm,
             Error *error);

#endif
