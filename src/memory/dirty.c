/* SPDX-License-Identifier: Apache-2.0 */

/* A page is dirty when it is present or swapped out and is not the file's: bits 63, 62 and 61 of
 * its /proc/PID/pagemap entry (Documentation/admin-guide/mm/pagemap.rst). PAGEMAP_SCAN gives the
 * same answer as ranges in one call. */

#include "memory/dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"

/* From include/uapi/linux/fs.h of Linux 6.7; the headers of Debian 12 are older. */
typedef struct PageRegion {
    uint64_t start, end, categories;
} PageRegion;

typedef struct PagemapScan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
} PagemapScan;

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, PagemapScan)
_Static_assert(PAGEMAP_SCAN_IOCTL == DIRTY_PAGES_IOCTL, "the number that filters let through");
#define CATEGORY_FILE ((uint64_t)1 << 2)
#define CATEGORY_PRESENT ((uint64_t)1 << 3)
#define CATEGORY_SWAPPED ((uint64_t)1 << 4)

#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define ENTRY_SWAPPED ((uint64_t)1 << 62)
#define ENTRY_FILE ((uint64_t)1 << 61)

#define SCAN_REGIONS 1024
#define ENTRIES_AT_ONCE 8192

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

static void append_regions(const GuestRam *ram, const PageRegion *regions, int n,
                           PageRanges *ranges) {
    for (int i = 0; i < n; i++)
        page_ranges_append(ranges, (regions[i].start - ram->address) / RAM_PAGE_SIZE,
                           (regions[i].end - regions[i].start) / RAM_PAGE_SIZE);
}

/* 0, or a negative errno: -ENOTTY or -EINVAL where the kernel is too old. */
static int scan_regions(const GuestRam *ram, PageRanges *ranges) {
    PageRegion regions[SCAN_REGIONS];
    uint64_t end = ram->address + ram->size_bytes;
    PagemapScan scan = {
        .size = sizeof(scan),
        .start = ram->address,
        .end = end,
        .vec = (uint64_t)(uintptr_t)regions,
        .vec_len = SCAN_REGIONS,
        .category_inverted = CATEGORY_FILE,
        .category_mask = CATEGORY_FILE, /* inverted: not the file's */
        .category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED,
        .return_mask = CATEGORY_FILE, /* the same for all, so that neighbours come as one range */
    };
    while (scan.start < end) {
        int n = ioctl(ram->pagemap_fd, PAGEMAP_SCAN_IOCTL, &scan);
        if (n < 0)
            return -errno;
        append_regions(ram, regions, n, ranges);
        /* With more than 512 regions walk_end may lie before the last of them (seen on 6.18: the
         * kernel gathers as many at once, and tells where the first such batch ended). */
        uint64_t next = n > 0 ? regions[n - 1].end : scan.walk_end;
        if (n < SCAN_REGIONS)
            next = MAX_OF(next, scan.walk_end);
        if (next <= scan.start)
            return -EIO;
        scan.start = next;
    }
    return 0;
}

static bool entry_is_dirty(uint64_t entry) {
    return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) != 0 && (entry & ENTRY_FILE) == 0;
}

int dirty_pages_collect_slowly(const GuestRam *ram, PageRanges *ranges, Error *error) {
    uint64_t pages = ram->size_bytes / RAM_PAGE_SIZE;
    uint64_t base = ram->address / RAM_PAGE_SIZE * sizeof(uint64_t);
    _cleanup_free_ uint64_t *entries = calloc(ENTRIES_AT_ONCE, sizeof(uint64_t));
    if (!entries)
        abort();
    for (uint64_t first = 0; first < pages; first += ENTRIES_AT_ONCE) {
        size_t n = MIN_OF((uint64_t)ENTRIES_AT_ONCE, pages - first);
        ssize_t got = fd_pread_full(ram->pagemap_fd, entries, n * sizeof(uint64_t),
                                    base + first * sizeof(uint64_t));
        if (got < 0 || (size_t)got != n * sizeof(uint64_t))
            return error_set_errno(error, got < 0 ? (int)-got : EIO,
                                   "cannot read the page map of process %d", (int)ram->pid);
        for (size_t i = 0; i < n; i++)
            if (entry_is_dirty(entries[i]))
                page_ranges_append(ranges, first + i, 1);
    }
    return 0;
}

int dirty_pages_collect(const GuestRam *ram, PageRanges *ranges, Error *error) {
    int r = scan_regions(ram, ranges);
    if (r == -ENOTTY || r == -EINVAL)
        return dirty_pages_collect_slowly(ram, ranges, error);
    if (r < 0) {
        page_ranges_free(ranges);
        return error_set_errno(error, -r, "cannot scan the page map of process %d", (int)ram->pid);
    }
    return 0;
}
