/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_BLOCK_STATS_H
#define RAMET_KEEPER_QEMU_BLOCK_STATS_H

/* What the guest has read and written, as QEMU's disks count it (query-blockstats,
 * qapi/block-core.json). */

#include "base/json.h"

/* Sums up all disks of QEMU's answer: {"read_bytes","read_operations","write_bytes",
 * "write_operations","flush_operations"}, the caller's. ERROR_CORRUPT for what is none. */
int block_stats_sum(const json_t *answer, json_t **stats, Error *error);

#endif
