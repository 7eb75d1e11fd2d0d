/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_DIFF_H
#define RAMET_MEMORY_DIFF_H

/* A diff: the dirty pages of one VM over its memory base, in a file. All numbers are little-endian.
 *
 *     0  8 bytes  "RAMETMD1"
 *     8  u32      page size, 4096
 *    12  u32      number of runs
 *    16  u64      RAM size in bytes
 *    24  u64      number of pages with content
 *    32           runs, 16 bytes each: u64 first page, u32 pages, u32 kind (0: zero pages, 1:
 * content) ascending and not overlapping …            zeroes up to the next multiple of 4096; then
 * the pages with content, in order
 *
 * The file is exactly as long as that. A diff is over the memory that its VM mapped, which may be
 * that of another diff. */

#include "memory/capture.h"

/* Writes the captured pages into an empty file; zero pages only as runs. The capture is finished.
 */
int memory_diff_write(const MemoryCapture *capture, int fd, Error *error);

/* The same of two whole memories: what `memfd` has that `base_fd` (both of ram_bytes) has not. */
int memory_diff_compare(int base_fd, int memfd, uint64_t ram_bytes, int fd, Error *error);

/* Checks the whole header and the file's length against ram_bytes: ERROR_CORRUPT with what is
 * wrong. */
int memory_diff_check(int fd, uint64_t ram_bytes, Error *error);

/* Writes the diff's pages into a waiting QEMU, after checking it. */
int memory_diff_patch(int fd, const GuestRam *ram, Error *error);

/* Lays a diff over what a memfd (borrowed, as large as the RAM) holds. open checks the diff, as
 * above, and clears all of its pages. store gets the file's bytes, in any order and from several
 * threads at once, as tree_digest_file visits them (TreeDigestVisitor; data: the MemoryDiff), so
 * that the file is read and hashed in one pass. */
typedef struct MemoryDiff MemoryDiff; /* opaque */
int memory_diff_open(int fd, uint64_t ram_bytes, int memfd, MemoryDiff **diff, Error *error);
int memory_diff_store(void *data, uint64_t offset, const uint8_t *bytes, size_t size);
void memory_diff_close(MemoryDiff *diff);
DEFINE_CLEANUP(MemoryDiff *, memory_diff_close);

#endif
