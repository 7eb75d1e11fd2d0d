/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_UPDATE_H
#define RAMET_MACHINE_UPDATE_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

/* Changes what happens to a VM by itself (home/policy.h: vm_policy_parse), and what it may use of
 * the host (home/limits.h), whatever its state. A new time to live counts from now where the VM is
 * up. */
int vm_update(Home *home, Operation *operation, const char *reference, const json_t *changes,
              json_t **vm, Error *error);

#endif
