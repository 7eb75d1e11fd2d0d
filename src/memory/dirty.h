/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_DIRTY_H
#define RAMET_MEMORY_DIRTY_H

/* The dirty pages of a guest: the pages of its private mapping that the kernel copied, because
 * QEMU, the guest or a patch wrote to them. All others still are the base's own. */

#include "memory/page_ranges.h"
#include "memory/ram.h"

/* Collects the dirty pages into `ranges` (empty before). The VM should be paused, or the answer is
 * old when it comes. Uses PAGEMAP_SCAN, and reads the pagemap where the kernel lacks it. */
int dirty_pages_collect(const GuestRam *ram, PageRanges *ranges, Error *error);

/* The way that reads the pagemap; for tests. */
int dirty_pages_collect_slowly(const GuestRam *ram, PageRanges *ranges, Error *error);

#endif
