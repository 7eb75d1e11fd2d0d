/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PROCESS_SPAWN_RUN_H
#define RAMET_BASE_PROCESS_SPAWN_RUN_H

#include "base/process/spawn.h"

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
