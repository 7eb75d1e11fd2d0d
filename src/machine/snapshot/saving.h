/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_SNAPSHOT_SAVING_H
#define RAMET_MACHINE_SNAPSHOT_SAVING_H

/* One snapshot that is being taken: what its steps know of each other. */

#include <stdbool.h>

#include "base/error.h"
#include "disk/publish.h"
#include "frozen/uefi_variables.h"
#include "home/home.h"
#include "home/operation.h"
#include "machine/snapshot/snapshot_options.h"
#include "storage/volume_clone.h"
#include "store/snapshots.h"
#include "store/vms.h"

typedef struct Saving {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    VmRow *vm;            /* borrowed */
    const SnapshotOptions *options;
    SnapshotRow row;         /* owned */
    Publish *files;          /* owned; NULL: none */
    char pinned[VM_ID_SIZE]; /* the snapshot whose memory the VM maps */
    int hot_fd;              /* owned: a memfd with the whole memory; -1: none */
    VolumeClones clones;     /* owned */
    UefiVariables variables; /* owned */
    Error trouble;           /* of copying them */
    bool holds;              /* the bases */
    bool switched;           /* the keeper said that the VM writes to the new overlay */
} Saving;

/* The row, from what the VM is; nothing of it is in the store yet. */
int saving_fill_row(Saving *saving, Error *error);

/* What the VM's disks stand on now. */
void saving_note_disks(Saving *saving);

/* What was saved of the memory so far goes; the row stays. */
void saving_drop_files(Saving *saving);

void saving_free(Saving *saving);

#endif
