/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_SPAWN_H
#define RAMET_BASE_SPAWN_H

/* Starting programs. The child gets exactly the descriptors that it is given, an empty signal mask
 * and default signal handlers. Built on vfork(2), as posix_spawn(3) is, since posix_spawn cannot
 * set a parent-death signal. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/process.h" /* what was started is remembered by its identity */

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

typedef struct SpawnOutput {
    int status; /* wait status */
    char *out;  /* owned; at most 1 MiB is kept, the rest is read and dropped */
    size_t out_size;
    char *err; /* owned; the last 16 KiB */
    size_t err_size;
} SpawnOutput;
void spawn_output_free(SpawnOutput *output);

/* Runs a tool to its end, with a bound on its time. cancel_fd (-1 for none): when it becomes
 * readable or hung up, the tool is killed and the call fails with -ECANCELED. A tool that cannot be
 * started or exits other than 0 is an error that carries the last line of its stderr. output may be
 * NULL; it is filled whenever the tool ran to its end, also when it exited other than 0. */
int spawn_run(const SpawnOptions *options, uint64_t timeout_usec, int cancel_fd,
              SpawnOutput *output, Error *error);

#endif
