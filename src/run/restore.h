/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_RESTORE_H
#define RAMET_RUN_RESTORE_H

/* How a VM comes out of a snapshot. */

#include <stdbool.h>

#include "store/snapshots.h"

typedef struct Restore {
    const SnapshotRow *snapshot; /* borrowed; must be pinned or otherwise kept */
    const char *boot;            /* "forked", "restored", "claimed": what the row will say */
    bool clone;                  /* a new identity; else entropy, clock and network only */
    bool keep; /* a clone that keeps names, addresses and keys of its source, in networks that
                  are like its source's */
    bool kernel_only; /* it is a booted kernel (pool/booted_kernel.h): the VM goes on as after a
                         boot, with disks of its own, and is who it was */
    bool paused;      /* a pool's: run until the agent answers, then paused, without identity */
    bool background;  /* nobody waits for it */
    bool in_group;    /* it is waited for with others: once it is ready it stays behind them, until
                         who made them all sets NICE_RUNNING */
} Restore;

#endif
