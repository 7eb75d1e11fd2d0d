/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_HOST_COST_H
#define RAMET_BENCH_HOST_COST_H

/* Processor time of the host's own work: that of the daemon and of what descends from it (zygote,
 * keepers, QEMUs), without the threads that run virtual CPUs. That is what remains of a fork where
 * guest code runs on the processor itself.
 *
 * A QEMU's threads have no names; its virtual CPU is taken to be the one, other than the main
 * thread, that used the processor the most. That holds for guests with one CPU that have run. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

typedef enum HostRole { HOST_DAEMON, HOST_ZYGOTE, HOST_KEEPER, HOST_QEMU, HOST_ROLES } HostRole;

typedef struct HostProcess {
    pid_t pid;
    HostRole role;
    uint64_t nsec; /* without the virtual CPU */
} HostProcess;

typedef struct HostCost {
    HostProcess *processes; /* owned */
    size_t count;
} HostCost;

/* Reads it of the daemon with that pid and all that descends from it. */
int host_cost_read(pid_t daemon, HostCost *cost, Error *error);
void host_cost_free(HostCost *cost);

/* Of one role, what was used since `before` by daemon, zygote, and the VM with these processes; one
 * that is younger than `before` counts from its start. In microseconds. */
double host_cost_since(const HostCost *before, const HostCost *after, HostRole role, pid_t keeper,
                       pid_t qemu);

#endif
