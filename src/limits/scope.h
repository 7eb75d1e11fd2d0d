/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LIMITS_SCOPE_H
#define RAMET_LIMITS_SCOPE_H

/* Transient scopes of systemd (systemd.scope(5)): there the folders of cgroup v2 are the service
 * manager's, and it is asked for one. root asks the system's, everybody else their own. A scope
 * goes when its last process has ended. */

#include <sys/types.h>

#include "base/error.h"
#include "store/vm_limits.h"

/* Starts the scope `name` ("….scope") with these processes and limits, and waits until it is there;
 * one that is there already gets the limits. ERROR_UNSUPPORTED: the service manager does not answer
 * or refuses. */
int scope_limit(const char *name, const VmLimits *limits, const pid_t *pids, size_t n_pids,
                Error *error);

/* The folder below which such scopes come, the caller's: its controllers are those that they may
 * have. */
int scope_parent(char **path, Error *error);

#endif
