/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_CAPTURE_H
#define RAMET_MEMORY_CAPTURE_H

/* A copy of a guest's dirty pages in a memfd, each at the place that it has in the RAM. It is made
 * while the guest runs, and then, while the guest is paused, again of those that it wrote
 * meanwhile: so the pause does not depend on how much there is. Completed with the rest of the
 * memory base, the memfd is the whole memory, which clones can map. */

#include "memory/dirty.h"
#include "memory/page_set.h"
#include "memory/written.h"

typedef struct MemoryCapture {
    const GuestRam *ram; /* borrowed */
    int memfd;           /* borrowed: as large as the RAM, and empty at first */
    PageSet pages;       /* that were copied */
    PageSet zero;        /* those of them that are all zero: the memfd has holes or zeroes there */
    WrittenPages written;
    WrittenWay way;      /* how it was told what was written meanwhile; once it is finished */
    uint64_t laid_pages; /* below, the memfd has the base's pages where none was copied */
    int laid_enough;     /* atomic */
    int cancelled;       /* atomic */
} MemoryCapture;

/* The copying goes on in another thread than the rest: ram, memfd and the capture stay until that
 * has returned. */
void memory_capture_init(MemoryCapture *capture, const GuestRam *ram, int memfd);
void memory_capture_free(MemoryCapture *capture);

/* Copies all dirty pages while the guest runs, and those that were written meanwhile until these
 * are few or do not get fewer. Where nothing tells what was written (written.h), it copies nothing:
 * all of it comes in the pause. uffd: see written.h. Blocks; -ECANCELED after
 * memory_capture_cancel. */
int memory_capture_ahead(MemoryCapture *capture, int uffd, Error *error);

/* After that, before the pause: adds what the memory base holds in all other pages, as far as it
 * gets until memory_capture_stop_laying, so that less is left for memory_capture_complete. Blocks;
 * after a failure the capture is of no use. */
int memory_capture_lay(MemoryCapture *capture, int base_fd, Error *error);

/* From any thread: a laying that is under way ends within a millisecond. */
void memory_capture_stop_laying(MemoryCapture *capture);

/* In the pause: the rest. Then, any time after that, while the guest may run again: its writes are
 * no longer told, which takes milliseconds. */
int memory_capture_finish(MemoryCapture *capture, Error *error);
void memory_capture_end_telling(MemoryCapture *capture);

/* Any time after that: what the memory base holds in all other pages, in bytes, holes not counted;
 * and adding it. */
uint64_t memory_capture_rest_bytes(const MemoryCapture *capture, int base_fd);
int memory_capture_complete(MemoryCapture *capture, int base_fd, Error *error);

/* Writes a complete one into an empty file, with holes. */
int memory_capture_write(const MemoryCapture *capture, int fd, Error *error);

/* From any thread: a copying that is under way ends soon. */
void memory_capture_cancel(MemoryCapture *capture);

/* Bytes of dirty pages, zero pages included. */
uint64_t memory_capture_dirty_bytes(const MemoryCapture *capture);

/* Of a finished one: bytes that a file of its dirty pages takes at least. */
uint64_t memory_capture_content_bytes(const MemoryCapture *capture);

#endif
