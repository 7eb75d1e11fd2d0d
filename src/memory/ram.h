/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_RAM_H
#define RAMET_MEMORY_RAM_H

/* A guest's RAM as it stands in a running QEMU: a private mapping of a memory base. It is found by
 * the base's device and inode, never by a name. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

#define RAM_PAGE_SIZE ((uint64_t)4096)

typedef struct GuestRam {
    pid_t pid;
    int mem_fd;       /* owned: /proc/PID/mem */
    int pagemap_fd;   /* owned: /proc/PID/pagemap */
    uint64_t address; /* where it is mapped in QEMU */
    uint64_t size_bytes;
} GuestRam;

#define GUEST_RAM_INIT ((GuestRam){.mem_fd = -1, .pagemap_fd = -1})

/* Finds the mapping of base_fd's file in process `pid`. The process must have been started by the
 * caller (same uid; Yama lets an ancestor in). Fails with ERROR_CORRUPT when there is no such
 * mapping, when it is shared instead of private, or when its size is not size_bytes; with -ESRCH
 * when the process has ended. */
int guest_ram_open(pid_t pid, int base_fd, uint64_t size_bytes, GuestRam *ram, Error *error);

void guest_ram_close(GuestRam *ram);
#define _cleanup_guest_ram_ _cleanup_(guest_ram_close)

/* Copies between the guest's RAM at `offset` and a buffer. Fails with -ESRCH when the process has
 * ended or is about to, ERROR_CORRUPT when the range is outside. */
int guest_ram_read(const GuestRam *ram, uint64_t offset, void *buffer, size_t size, Error *error);
int guest_ram_write(const GuestRam *ram, uint64_t offset, const void *buffer, size_t size,
                    Error *error);

#endif
