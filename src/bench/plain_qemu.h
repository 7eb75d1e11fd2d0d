/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_PLAIN_QEMU_H
#define RAMET_BENCH_PLAIN_QEMU_H

/* The yardstick: QEMU started as its manual shows, by nobody's hand but the command line's. */

#include "base/error.h"

typedef struct PlainBoot {
    const char *qemu;
    const char *accel;
    const char *kernel; /* a bzImage */
    const char *initrd;
    const char *disk;    /* qcow2 overlay of the root disk */
    const char *cmdline; /* the kernel's; NULL: "console=ttyS0" */
    uint64_t memory_bytes;
} PlainBoot;

/* Boots and waits until the agent in the initramfs has answered a greeting, then ends QEMU. *usec
 * is the time from the start of the process to the answer. */
int plain_boot(const PlainBoot *boot, uint64_t *usec, Error *error);

typedef struct PlainTimes {
    uint64_t boot_usec;    /* from the start of the process to the agent's answer */
    uint64_t save_usec;    /* from `stop` to the end of the migration */
    uint64_t restore_usec; /* from the start of the new process to the agent's answer */
} PlainTimes;

/* Boots, saves the machine to `file` with `migrate` without a limit of bandwidth, ends QEMU, and
 * restores it in a new one. The file stays. */
int plain_migrate(const PlainBoot *boot, const char *file, PlainTimes *times, Error *error);

/* From exec to the QMP greeting of QEMU with `-M microvm -nodefaults -incoming defer` and no
 * devices: what no fork without a pool can be faster than. */
int plain_greeting(const char *qemu, const char *accel, uint64_t *usec, Error *error);

#endif
