/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_CARRY_H
#define RAMET_MEMORY_CARRY_H

/* Pages that a guest has written since a moment, copied to another mapping of the same process: one
 * that has what the guest's memory was at that moment. While the guest runs, and then, in a pause,
 * again those that it wrote meanwhile; after that both have the same content. */

#include "memory/ram.h"
#include "memory/written.h"

typedef struct MemoryCarry {
    const GuestRam *ram;   /* borrowed */
    WrittenPages *written; /* borrowed: tells since that moment */
    uint64_t to_address;   /* of the other mapping, as large and writable */
    uint64_t max_pages;    /* more than these are not copied */
    uint64_t pages;        /* that were, some of them more than once */
} MemoryCarry;

/* Copies until few are left or they do not get fewer. -E2BIG: the guest writes that fast. Blocks.
 */
int memory_carry_ahead(MemoryCarry *carry, Error *error);

/* In the pause: the rest. */
int memory_carry_finish(MemoryCarry *carry, Error *error);

#endif
