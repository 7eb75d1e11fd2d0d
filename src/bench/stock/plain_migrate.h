/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_STOCK_PLAIN_MIGRATE_H
#define RAMET_BENCH_STOCK_PLAIN_MIGRATE_H

#include "bench/stock/plain_qemu.h"

typedef struct PlainTimes {
    uint64_t boot_usec;    /* from the start of the process to the agent's answer */
    uint64_t save_usec;    /* from `stop` to the end of the migration */
    uint64_t restore_usec; /* from the start of the new process to the agent's answer */
} PlainTimes;

/* Boots, saves the machine to `file` with `migrate` without a limit of bandwidth, ends QEMU, and
 * restores it in a new one. The file stays. */
int plain_migrate(const PlainBoot *boot, const char *file, PlainTimes *times, Error *error);

#endif
