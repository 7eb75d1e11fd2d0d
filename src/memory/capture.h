/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_CAPTURE_H
#define RAMET_MEMORY_CAPTURE_H

/* A copy of a paused guest's dirty pages, taken while it is paused and written to a file after it
 * runs again: the pause holds only what must not change under us. */

#include "memory/dirty.h"

typedef struct MemoryCapture MemoryCapture; /* opaque */

/* In two steps: what can be done while the guest runs (memory for the copy, as much as is dirty now
 * and some more), and the copy of all dirty pages. Only what the room does not hold is made in the
 * second one. After a failure the capture can only be freed. */
int memory_capture_prepare(const GuestRam *ram, MemoryCapture **capture, Error *error);
int memory_capture_take(MemoryCapture *capture, const GuestRam *ram, Error *error);

/* Both at once. */
int memory_capture(const GuestRam *ram, MemoryCapture **capture, Error *error);
void memory_capture_free(MemoryCapture *capture);
DEFINE_CLEANUP(MemoryCapture *, memory_capture_free);

/* Bytes of dirty pages, zero pages included. */
uint64_t memory_capture_dirty_bytes(const MemoryCapture *capture);

/* The rule by which a diff is written out as a new base instead: its pages are more than a quarter
 * of the RAM. A fork patches its diff's pages in before it runs, so a large diff costs every fork;
 * a new base costs its bytes once. */
bool memory_capture_wants_base(const MemoryCapture *capture);

/* Writes a whole memory base into an empty file: what old_base holds (-1: zeroes), with the dirty
 * pages over it. Zero pages become holes. */
int memory_capture_write_base(const MemoryCapture *capture, int old_base_fd, int fd, Error *error);

/* For diff.c and capture.c: calls visit for runs of pages that are all zero or all not zero. data
 * is NULL for zero pages. A negative return ends the walk and is returned. */
typedef int (*MemoryRunVisitor)(void *data, uint64_t first_page, uint64_t pages,
                                const uint8_t *content);
int memory_capture_walk(const MemoryCapture *capture, MemoryRunVisitor visit, void *data);
uint64_t memory_capture_ram_bytes(const MemoryCapture *capture);

#endif
