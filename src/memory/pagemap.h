/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_PAGEMAP_H
#define RAMET_MEMORY_PAGEMAP_H

/* What the kernel's page map says of a guest's RAM, as a PAGEMAP_SCAN or read entry by entry
 * (Documentation/admin-guide/mm/pagemap.rst). Asked here is only for private pages: those that are
 * present or swapped out and are not the file's. */

#include "memory/page_ranges.h"
#include "memory/ram.h"

/* The request number of PAGEMAP_SCAN, for system call filters: _IOWR('f', 16, 96 bytes). */
#define PAGEMAP_SCAN_NUMBER 0xc0606610u

/* Appends the private pages by PAGEMAP_SCAN (Linux 6.7). Returns 0 or a negative errno: -ENOTTY or
 * -EINVAL where the kernel is too old, -ESRCH when the process has ended. */
int pagemap_scan(const GuestRam *ram, PageRanges *ranges);

/* Write-protects all pages that are present or swapped out, by a userfaultfd, with which all of the
 * RAM must be registered in asynchronous mode. Returns as pagemap_scan, and -EPERM where it is not
 * registered so. */
int pagemap_protect(const GuestRam *ram);

/* Appends the private pages that were written since they were protected, and protects them anew, in
 * one step with the look at each. Returns as pagemap_protect. After a failure some may have been
 * protected without being told. */
int pagemap_scan_written(const GuestRam *ram, PageRanges *ranges);

/* The private pages by reading entries; all of `bits` must be set in them (0: none). */
int pagemap_read(const GuestRam *ram, uint64_t bits, PageRanges *ranges);

/* 0, or -ESRCH when the process has ended. */
int pagemap_check_alive(const GuestRam *ram);

#define PAGEMAP_SOFT_DIRTY ((uint64_t)1 << 55)

#endif
