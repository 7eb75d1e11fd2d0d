/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/carry.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define CHUNK_PAGES ((uint64_t)64)
#define FEW_PAGES ((uint64_t)256) /* half a millisecond of a pause */
#define ROUNDS_MAX 6

static int copy_range(const MemoryCarry *carry, const PageRange *range, uint8_t *buffer,
                      Error *error) {
    GuestRam to = *carry->ram;
    uint64_t count;
    to.address = carry->to_address;
    for (uint64_t done = 0; done < range->count; done += count) {
        count = MIN_OF(range->count - done, CHUNK_PAGES);
        uint64_t offset = (range->first + done) * RAM_PAGE_SIZE;
        int r = guest_ram_read(carry->ram, offset, buffer, count * RAM_PAGE_SIZE, error);
        if (r >= 0)
            r = guest_ram_write(&to, offset, buffer, count * RAM_PAGE_SIZE, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int copy_written(MemoryCarry *carry, uint64_t *pages, Error *error) {
    _cleanup_page_ranges_ PageRanges ranges = {0};
    _cleanup_free_ uint8_t *buffer = malloc(CHUNK_PAGES * RAM_PAGE_SIZE);
    if (!buffer)
        abort();
    int r = written_pages_take(carry->written, carry->ram, &ranges, error);
    *pages = ranges.pages;
    carry->pages += ranges.pages;
    if (r >= 0 && carry->pages > carry->max_pages)
        return error_set(error, ERROR_CONFLICT, E2BIG, "the guest has written too much meanwhile");
    for (size_t i = 0; r >= 0 && i < ranges.count; i++)
        r = copy_range(carry, &ranges.items[i], buffer, error);
    return r;
}

int memory_carry_ahead(MemoryCarry *carry, Error *error) {
    uint64_t before = UINT64_MAX, pages;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int r = copy_written(carry, &pages, error);
        if (r < 0 || pages <= FEW_PAGES || pages > before / 2)
            return r;
        before = pages;
    }
    return 0;
}

int memory_carry_finish(MemoryCarry *carry, Error *error) {
    uint64_t pages;
    return copy_written(carry, &pages, error);
}
