/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_LIMITS_H
#define RAMET_HOME_LIMITS_H

/* What a VM may use of the host, as clients say it and see it. src/limits has it kept. */

#include "base/error.h"
#include "base/json.h"
#include "store/vm_limits.h"

/* Takes "cpu_limit" ("0.5"), "memory_limit" ("1G"), "pids_limit" (a number) and "io_limit"
 * ("bytes=10M,ops=500") of what a client sent; what is absent stays as it is, "", "0" and 0 end it.
 * ERROR_USAGE */
int vm_limits_parse(const json_t *json, VmLimits *limits, Error *error);

/* {"cpus","memory_bytes","pids","io_bytes","io_ops"}, the caller's; null: none. */
json_t *vm_limits_describe(const VmLimits *limits);

#endif
