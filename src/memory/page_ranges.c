/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_ranges.h"

#include <stdlib.h>

void page_ranges_free(PageRanges *ranges) {
    free(ranges->items);
    *ranges = (PageRanges){0};
}

static void page_ranges_grow(PageRanges *ranges) {
    ranges->room = ranges->room ? 2 * ranges->room : 256;
    ranges->items = reallocarray(ranges->items, ranges->room, sizeof(PageRange));
    if (!ranges->items)
        abort();
}

void page_ranges_append(PageRanges *ranges, uint64_t first, uint64_t count) {
    PageRange *last = ranges->count > 0 ? &ranges->items[ranges->count - 1] : NULL;
    ranges->pages += count;
    if (last && last->first + last->count == first) {
        last->count += count;
        return;
    }
    if (!ranges->items || ranges->count == ranges->room)
        page_ranges_grow(ranges);
    ranges->items[ranges->count++] = (PageRange){.first = first, .count = count};
}
