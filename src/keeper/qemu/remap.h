/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_REMAP_H
#define RAMET_KEEPER_QEMU_REMAP_H

/* Laying another file under a guest's memory; zygote/remap.h is what does it in QEMU:
 *
 *     remap_map, while the guest runs ─▶ what it is to differ in is written there ─▶
 *         pause ─▶ remap_swap ─▶ the guest goes on ─▶ remap_drop of what went aside
 *
 * QEMU may be in the hands of its guest: nothing that it says is taken for true, and who asks waits
 * for a bounded time. All calls may come from any thread, one at a time. */

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

#define REMAP_REPLACED_MAX 8

typedef struct Remapping {
    int socket;             /* owned; -1: QEMU cannot, or does no longer answer */
    int pid_fd;             /* borrowed: of QEMU */
    uint64_t patience_usec; /* for an answer */
    uint32_t last;          /* number of the last request */
    uint64_t address, size; /* of the guest's memory */
    uint64_t beside, aside; /* the new one before the swap, the old one after it */
} Remapping;

#define REMAPPING_INIT ((Remapping){.socket = -1, .pid_fd = -1, .patience_usec = 20 * USEC_PER_SEC})

/* Maps the file (as large as the memory) beside the memory, private to QEMU. On failure nothing has
 * changed. */
int remap_map(Remapping *remapping, int fd, Error *error);

/* The guest is paused: its memory and what is beside change places, and QEMU's descriptors of these
 * numbers (n at most REMAP_REPLACED_MAX) become such of the file. -ENOTRECOVERABLE: it cannot be
 * known what the guest's memory is now, and QEMU has to end. After any other failure it is as it
 * was. */
int remap_swap(Remapping *remapping, int fd, const int *replaced, size_t n, Error *error);

/* Gives that part of the address space back. */
int remap_drop(Remapping *remapping, uint64_t address, uint64_t size, Error *error);

#endif
