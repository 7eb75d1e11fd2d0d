/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/dirty.h"

#include <errno.h>

#include "memory/pagemap.h"

static int finish(const GuestRam *ram, int r, PageRanges *ranges, Error *error) {
    if (r >= 0)
        return 0;
    page_ranges_free(ranges);
    return error_set_errno(error, -r, "cannot read the page map of process %d", (int)ram->pid);
}

int dirty_pages_collect_slowly(const GuestRam *ram, PageRanges *ranges, Error *error) {
    return finish(ram, pagemap_read(ram, 0, ranges), ranges, error);
}

int dirty_pages_collect(const GuestRam *ram, PageRanges *ranges, Error *error) {
    int r = pagemap_scan(ram, ranges);
    if (r == -ENOTTY || r == -EINVAL)
        return dirty_pages_collect_slowly(ram, ranges, error);
    return finish(ram, r, ranges, error);
}
