/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_WRITTEN_H
#define RAMET_MEMORY_WRITTEN_H

/* Which pages of a guest's RAM were written since a moment, while the guest runs: so that a
 * snapshot copies pages while it runs, and in the pause only those that were written meanwhile.
 *
 *     written_pages_start ─▶ dirty_pages_collect, copy ─▶ written_pages_take, copy … ─▶ pause
 *         ─▶ written_pages_take, copy ─▶ written_pages_stop
 *
 * What bypasses the page tables is not seen: DMA into pages that were pinned before. QEMU as it is
 * started here does none (no O_DIRECT, no vhost, no device of the host). A page that QEMU gave back
 * to the base (MADV_DONTNEED) is not told either: what counts at the end is whether it is dirty. */

#include "memory/page_ranges.h"
#include "memory/ram.h"

typedef enum WrittenWay {
    WRITTEN_UNKNOWN, /* nothing tells: each private page may have been written */
    WRITTEN_USERFAULTFD,
    WRITTEN_SOFT_DIRTY,
} WrittenWay;

typedef struct WrittenPages {
    WrittenWay way;
    int uffd;                     /* borrowed */
    uint64_t address, size_bytes; /* what is registered with it */
    char refusal[160];            /* why the userfaultfd was not used, or no longer; "": it was */
} WrittenPages;

/* From here on writes are seen. uffd is a userfaultfd of that very process's memory, of which
 * nobody made another use, or -1; it stays the caller's and must outlive *written. Where neither it
 * nor soft-dirty bits work the way is WRITTEN_UNKNOWN, which is no error. Fails when the process
 * has ended. What stands in *written before is not looked at. */
int written_pages_start(const GuestRam *ram, int uffd, WrittenPages *written, Error *error);

/* Puts the pages that were written since the start or the last take into `ranges` (empty before).
 * A write that comes later is in the next one. A page may come twice: by soft-dirty bits all that
 * were written since the start come each time, and by no way all private pages. Only private pages
 * are told. */
int written_pages_take(WrittenPages *written, const GuestRam *ram, PageRanges *ranges,
                       Error *error);

/* Writes are no longer seen. A second time does nothing. */
void written_pages_stop(WrittenPages *written);

/* "userfaultfd", "soft-dirty" or "none"; static. */
const char *written_pages_way(WrittenWay way);

/* Which way works on this host, tried with memory of this process; without `userfaultfd`, for VMs
 * whose QEMU gives none. */
WrittenWay written_pages_probe(bool userfaultfd);

#endif
