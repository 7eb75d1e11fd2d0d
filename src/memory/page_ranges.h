/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_PAGE_RANGES_H
#define RAMET_MEMORY_PAGE_RANGES_H

/* Pages of a guest's RAM as ranges. */

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

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

#endif
