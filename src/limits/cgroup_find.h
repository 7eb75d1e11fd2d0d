/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LIMITS_CGROUP_FIND_H
#define RAMET_LIMITS_CGROUP_FIND_H

/* Where cgroup v2 is on this host. */

#include <sys/types.h>

#include "base/error.h"

/* The first mount point of cgroup v2 in the text of /proc/PID/mountinfo (proc(5)), the caller's;
 * NULL: there is none. */
char *cgroup_find_mount(const char *mountinfo);

/* The path below it in the text of /proc/PID/cgroup (cgroups(7)), the caller's; NULL: none. */
char *cgroup_find_path(const char *text);

/* The folder of cgroup v2 that the process is in, the caller's. pid 0: this one.
 * ERROR_UNSUPPORTED: this host has none mounted. */
int cgroup_of_process(pid_t pid, char **path, Error *error);

/* The mount point, the caller's. ERROR_UNSUPPORTED as well. */
int cgroup_of_host(char **path, Error *error);

#endif
