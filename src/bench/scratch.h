/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_SCRATCH_H
#define RAMET_BENCH_SCRATCH_H

/* Files and tools of benches that compare with stock ones. */

#include "bench/bench.h"

/* Runs a tool to its end. */
int bench_run_tool(char *const *argv, Error *error);

/* A folder on the file system of the home, the caller's; and its end, which removes it. */
int bench_scratch_new(const Bench *bench, char **folder, Error *error);
void bench_scratch_remove(char **folder);

/* fsync of a file or folder. */
int bench_sync_path(const char *path, Error *error);

/* The room of what was removed is given back with the file system's next commit, which whoever
 * flushes then would wait for. */
int bench_give_back_room(const char *folder, Error *error);

#endif
