/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_STOCK_PLAIN_QEMU_H
#define RAMET_BENCH_STOCK_PLAIN_QEMU_H

/* The baseline: QEMU started as its manual shows, by nobody's hand but the command line's. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "proto/agent.h"

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

/* From exec to the QMP greeting of QEMU with `-M microvm -nodefaults -incoming defer` and no
 * devices: what no fork without a pool can be faster than. */
int plain_greeting(const char *qemu, const char *accel, uint64_t *usec, Error *error);

/* For plain_migrate.c. */

#define PLAIN_CHANNEL_FD 3 /* QEMU's end of the agent's port, or of the monitor */
#define PLAIN_MONITOR_FD 4

/* The command line of PlainBoot, with the agent's port on PLAIN_CHANNEL_FD. */
void plain_argv(const PlainBoot *boot, StrList *argv);

/* channel and monitor (-1: none) are borrowed. The process dies with this one. */
int plain_spawn(StrList *argv, int channel, int monitor, pid_t *pid, Error *error);
void plain_end(pid_t pid);

/* Greets the agent and waits for its answer. booting: it announces itself first; otherwise marker
 * is what the last greeting left. *marker is then the next one's. */
int plain_greet(int fd, bool booting, uint8_t marker[AGENT_MARKER_SIZE], Error *error);

#endif
