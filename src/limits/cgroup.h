/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LIMITS_CGROUP_H
#define RAMET_LIMITS_CGROUP_H

/* A folder of cgroup v2, and below it one for each VM that has limits: what is written to their
 * files (Documentation/admin-guide/cgroup-v2.rst of Linux). Which folder that is, is told by who
 * calls; so tests have one of plain files. */

#include <sys/types.h>

#include "base/error.h"
#include "store/vm_limits.h"

/* A folder that is open. */
typedef struct Cgroup {
    int fd;           /* borrowed */
    const char *path; /* borrowed: what messages call it */
} Cgroup;

/* Has the controllers that these limits need, and hands them to the folders below (which writes).
 * ERROR_UNSUPPORTED: one is missing, or processes are in the folder itself; ERROR_PERMISSION: it is
 * not ours to write. Each with a hint. */
int cgroup_delegate(const Cgroup *cgroup, const VmLimits *limits, Error *error);

/* Whether it has the controllers that these limits need; nothing is written. */
int cgroup_check(const Cgroup *cgroup, const VmLimits *limits, Error *error);

/* Gives the folder `name` below it these limits, those that are 0 ended, and has the processes in
 * it. It is made when it is not there, and is gone again when that fails. Processes that have ended
 * are passed over. */
int cgroup_limit(const Cgroup *cgroup, const char *name, const VmLimits *limits, const pid_t *pids,
                 size_t n_pids, Error *error);

/* Whether the folder has these limits as its own: a service manager may have left some out. */
int cgroup_verify(const Cgroup *cgroup, const VmLimits *limits, Error *error);

/* Removes the folder `name`; none is fine. -EBUSY: processes are in it. */
int cgroup_remove(const Cgroup *cgroup, const char *name);

#endif
