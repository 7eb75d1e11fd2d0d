/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PROCESS_SPAWN_H
#define RAMET_BASE_PROCESS_SPAWN_H

/* Starting programs. The child gets exactly the descriptors that it is given, an empty signal mask
 * and default signal handlers. Built on vfork(2), as posix_spawn(3) is, since posix_spawn cannot
 * set a parent-death signal. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/process/process.h" /* what was started is remembered by its identity */

typedef struct SpawnFd {
    int from; /* descriptor here; -1: /dev/null */
    int to;   /* its number in the child */
} SpawnFd;

typedef struct SpawnOptions {
    const char *program;      /* absolute path, or a name looked up in $PATH */
    char *const *argv;        /* NULL-terminated */
    char *const *environment; /* NULL: this process's own */
    const SpawnFd *fds;       /* 0, 1 and 2 are /dev/null unless named here */
    size_t n_fds;
    bool new_session;     /* setsid() */
    bool die_with_parent; /* SIGKILL when the thread that spawned it ends */
    int nice;             /* added to priority_base() */
} SpawnOptions;

/* Returns 0 and the pid once execve succeeded, or the error of the step that failed in the child.
 */
int spawn_process(const SpawnOptions *options, pid_t *pid, Error *error);

/* Do the options say what this descriptor is in the child? */
bool spawn_names_target(const SpawnOptions *options, int to);

/* Waits for a child to end; status may be NULL. */
void spawn_reap(pid_t pid, int *status);

#endif
