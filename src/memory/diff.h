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
 * The file is exactly as long as that. A diff is always over a base, never over another diff, so
 * forks of forks have no chain. */

#include "memory/capture.h"

/* Writes the captured pages into an empty file; zero pages only as runs. */
int memory_diff_write(const MemoryCapture *capture, int fd, Error *error);

/* Checks the whole header and the file's length against ram_bytes: ERROR_CORRUPT with what is
 * wrong. */
int memory_diff_check(int fd, uint64_t ram_bytes, Error *error);

/* Writes the diff's pages into a waiting QEMU, after checking it. pages (may be NULL) is their
 * number. */
int memory_diff_patch(int fd, const GuestRam *ram, uint64_t *pages, Error *error);

#endif
