/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/pagemap.h"

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
_Static_assert(PAGEMAP_SCAN_IOCTL == PAGEMAP_SCAN_NUMBER, "the number that filters let through");
#define CATEGORY_WRITTEN ((uint64_t)1 << 1)
#define CATEGORY_FILE ((uint64_t)1 << 2)
#define CATEGORY_PRESENT ((uint64_t)1 << 3)
#define CATEGORY_SWAPPED ((uint64_t)1 << 4)
#define SCAN_WP_MATCHING ((uint64_t)1 << 0)
#define SCAN_CHECK_WPASYNC ((uint64_t)1 << 1)

/* Bits of an entry of /proc/PID/pagemap. */
#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define ENTRY_SWAPPED ((uint64_t)1 << 62)
#define ENTRY_FILE ((uint64_t)1 << 61)

#define SCAN_REGIONS 1024
#define ENTRIES_AT_ONCE 8192

static void append_regions(const GuestRam *ram, const PageRegion *regions, int n,
                           PageRanges *ranges) {
    for (int i = 0; i < n; i++)
        page_ranges_append(ranges, (regions[i].start - ram->address) / RAM_PAGE_SIZE,
                           (regions[i].end - regions[i].start) / RAM_PAGE_SIZE);
}

/* A process that has ended has no pages, which a scan does not tell from a guest that wrote none;
 * but no entry of it can be read. */
int pagemap_check_alive(const GuestRam *ram) {
    uint64_t entry, place = ram->address / RAM_PAGE_SIZE * sizeof(entry);
    ssize_t got = fd_pread_full(ram->pagemap_fd, &entry, sizeof(entry), place);
    return got < 0 ? (int)got : got < (ssize_t)sizeof(entry) ? -ESRCH : 0;
}

static int scan_regions(const GuestRam *ram, PagemapScan *scan, PageRanges *ranges) {
    PageRegion regions[SCAN_REGIONS];
    scan->vec = (uint64_t)(uintptr_t)regions;
    scan->vec_len = SCAN_REGIONS;
    while (scan->start < scan->end) {
        int n = ioctl(ram->pagemap_fd, PAGEMAP_SCAN_IOCTL, scan);
        if (n < 0)
            return -errno;
        append_regions(ram, regions, n, ranges);
        /* With more than 512 regions walk_end may lie before the last of them (seen on 6.18: the
         * kernel gathers as many at once, and tells where the first such batch ended). */
        uint64_t next = n > 0 ? regions[n - 1].end : scan->walk_end;
        if (n < SCAN_REGIONS)
            next = MAX_OF(next, scan->walk_end);
        if (next <= scan->start)
            return -EIO;
        scan->start = next;
    }
    return 0;
}

/* The private pages from `first` on. */
static int scan_private(const GuestRam *ram, uint64_t first, uint64_t count, PageRanges *ranges) {
    PagemapScan scan = {
        .size = sizeof(scan),
        .start = ram->address + first * RAM_PAGE_SIZE,
        .end = ram->address + (first + count) * RAM_PAGE_SIZE,
        .category_inverted = CATEGORY_FILE,
        .category_mask = CATEGORY_FILE, /* inverted: not the file's */
        .category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED,
        .return_mask = CATEGORY_FILE, /* the same for all, so that neighbours come as one range */
    };
    return scan_regions(ram, &scan, ranges);
}

int pagemap_scan(const GuestRam *ram, PageRanges *ranges) {
    int r = scan_private(ram, 0, ram->size_bytes / RAM_PAGE_SIZE, ranges);
    return r < 0 ? r : pagemap_check_alive(ram);
}

/* Write-protects all pages that are not, and appends them. Among them are pages of the base that
 * were read since the last time. */
static int protect(const GuestRam *ram, PageRanges *bare) {
    PagemapScan scan = {
        .size = sizeof(scan),
        .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
        .start = ram->address,
        .end = ram->address + ram->size_bytes,
        .category_mask = CATEGORY_WRITTEN,
        .category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED,
        .return_mask = CATEGORY_WRITTEN,
    };
    return scan_regions(ram, &scan, bare);
}

int pagemap_protect(const GuestRam *ram) {
    _cleanup_page_ranges_ PageRanges bare = {0};
    int r = protect(ram, &bare);
    return r < 0 ? r : pagemap_check_alive(ram);
}

/* Whether a page is the file's stands beside the page itself and not in the page table, and looking
 * there takes far longer. So it is asked only of the pages that were not protected. One that is
 * written between the two looks is told now, and once more. */
int pagemap_scan_written(const GuestRam *ram, PageRanges *ranges) {
    _cleanup_page_ranges_ PageRanges bare = {0};
    int r = protect(ram, &bare);
    for (size_t i = 0; r == 0 && i < bare.count; i++)
        r = scan_private(ram, bare.items[i].first, bare.items[i].count, ranges);
    return r < 0 ? r : pagemap_check_alive(ram);
}

static bool entry_is_private(uint64_t entry) {
    return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) != 0 && (entry & ENTRY_FILE) == 0;
}

int pagemap_read(const GuestRam *ram, uint64_t bits, PageRanges *ranges) {
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
            return got < 0 ? (int)got : -ESRCH;
        for (size_t i = 0; i < n; i++)
            if (entry_is_private(entries[i]) && (entries[i] & bits) == bits)
                page_ranges_append(ranges, first + i, 1);
    }
    return 0;
}
