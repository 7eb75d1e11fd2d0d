/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_LOOK_MEMORY_USE_H
#define RAMET_MACHINE_LOOK_MEMORY_USE_H

/* What the memory that a VM's QEMU alone holds is for, from proc(5), /proc/PID/smaps. */

#include <stdint.h>
#include <sys/types.h>

typedef struct MemoryUse {
    uint64_t guest_bytes; /* pages that the guest wrote */
    uint64_t code_bytes;  /* what the emulator translated of the guest's code; 0 under KVM */
    uint64_t qemu_bytes;  /* all else: the heap, stacks and data of QEMU and its libraries */
} MemoryUse;

/* Reads the text of a smaps file. ram_inode: of the file that is the guest's memory; which mapping
 * that is follows from it. */
void memory_use_parse(const char *smaps, ino_t ram_inode, MemoryUse *use);

/* The same of a process. Negative errno when it cannot be looked at. */
int memory_use_read(pid_t pid, ino_t ram_inode, MemoryUse *use);

/* How much of what a QEMU maps is in memory. */
typedef struct MemoryShare {
    uint64_t private_bytes; /* pages that it wrote, in memory or swapped out; of those that it
                               shares with the zygote its share */
    uint64_t shared_bytes;  /* all others: of the memory that its guest grew from, of programs */
} MemoryShare;

/* Reads the text of a smaps_rollup file. -ENODATA when that does not tell. */
int memory_share_parse(const char *rollup, MemoryShare *share);

/* The same of a process. Needs the right to trace it. */
int memory_share_read(pid_t pid, MemoryShare *share);

#endif
