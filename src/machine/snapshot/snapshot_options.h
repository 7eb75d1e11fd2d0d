/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_OPTIONS_H
#define RAMET_MACHINE_SNAPSHOT_OPTIONS_H

/* What a snapshot is to be. */

#include <stdbool.h>

#include "machine/snapshot/meeting.h"

typedef struct SnapshotOptions {
    const char *name;    /* borrowed; NULL: none */
    const char *purpose; /* borrowed; NULL: a user's own, else automatic */
    const char *key;     /* borrowed; NULL: made of the facts */
    bool standby;        /* the VM stays paused and keeps its overlay */
    bool compress;       /* its memory is stored compressed */
    bool scheduled;      /* of the VM's schedule, which removes it later */
    bool adopt;          /* the VM may map its memory afterwards: vm_adopt_later */
    bool kernel_only;    /* of a VM that waits before its disks: of memory and devices alone */
    bool root_only;      /* it is for its root disk, and nobody forks it */
    bool clone_volumes;  /* copies of those that it writes to; else such a VM is refused */
    Meeting *meeting;    /* borrowed: it is saved together with others; NULL: alone */
} SnapshotOptions;

#endif
