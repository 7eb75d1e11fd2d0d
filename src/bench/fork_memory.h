/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_MEMORY_H
#define RAMET_BENCH_FORK_MEMORY_H

#include "bench/fork_samples.h"

/* Waits until all clones of the answer have done what comes after a start. Those that go on are
 * left to it after half a minute. */
int fork_wait_idle(const json_t *answer, Error *error);

/* A VM's "qemu_pid" or "keeper_pid". */
pid_t fork_pid(const json_t *vm, const char *which);

/* The processor time of all of a process's threads. */
int fork_processor_usec(pid_t pid, uint64_t *usec, Error *error);

/* What `ramet inspect` calls private. */
int fork_private(ForkBench *bench, const json_t *vm, double *bytes, Error *error);

#endif
