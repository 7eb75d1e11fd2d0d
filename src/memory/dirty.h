/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_DIRTY_H
#define RAMET_MEMORY_DIRTY_H

/* The dirty pages of a guest: the pages of its private mapping that the kernel copied, because
 * QEMU, the guest or a patch wrote to them. All others still are the base's own. */

#include "memory/ram.h"

typedef struct PageRange {
    uint64_t first; /* page number within the RAM */
    uint64_t count;
} PageRange;

typedef struct PageRanges {
    PageRange *items; /* owned; ascending, not touching each other */
    size_t count;
    size_t room;
    uint64_t pages; /* sum of the counts */
} PageRanges;

void page_ranges_free(PageRanges *ranges);
#define _cleanup_page_ranges_ _cleanup_(page_ranges_free)

/* Adds pages after all that are there; joins them to the last range when they touch it. */
void page_ranges_append(PageRanges *ranges, uint64_t first, uint64_t count);

/* Collects the dirty pages into `ranges` (empty before). The VM should be paused, or the answer is
 * old when it comes. Uses PAGEMAP_SCAN (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst), and
 * reads the pagemap where the kernel lacks it. */
int dirty_pages_collect(const GuestRam *ram, PageRanges *ranges, Error *error);

/* The way that reads the pagemap; for tests. */
int dirty_pages_collect_slowly(const GuestRam *ram, PageRanges *ranges, Error *error);

/* The request number of PAGEMAP_SCAN, for system call filters: _IOWR('f', 16, 96 bytes). */
#define DIRTY_PAGES_IOCTL 0xc0606610u

#endif
