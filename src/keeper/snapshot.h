/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_SNAPSHOT_H
#define RAMET_KEEPER_SNAPSHOT_H

/* Between snapshot.c (the order of things, and the answer) and pause.c (what happens in QEMU). */

#include "keeper/keeper.h"
#include "memory/capture.h"

typedef struct SnapshotDisk {
    size_t index; /* of the plan's disk */
    int fd;       /* owned: the new overlay, for reading */
    int fd_write; /* owned: for reading and writing */
    unsigned fdset;
    char node[QEMU_NODE_NAME_SIZE];
} SnapshotDisk;

struct Snapshot {
    Keeper *keeper;         /* borrowed */
    Connection *connection; /* borrowed; NULL once it is gone */
    int state_fd;           /* owned: write-only */
    int memory_fd;          /* owned */
    size_t n_disks;         /* 0: they stay as they are */
    SnapshotDisk disks[PLAN_DISKS_MAX];
    bool stay_paused;
    bool was_paused;
    bool frozen; /* now */
    bool froze;  /* the state was taken so */
    bool switched;
    LinkStream *freezing; /* borrowed from the link */
    LoopSource *timer;
    GuestRam ram;
    MemoryCapture *capture; /* owned; from pause_prepare on */
    uint64_t mailbox;       /* the agent's: a physical address, or 0 */
    unsigned state_fdset;
    uint64_t pause_usec;
};

/* Ends the open stage and starts this one. */
void snapshot_stage(Snapshot *snapshot, const char *name);

/* Opens the new overlays in QEMU, and makes room for a copy of the pages, while the guest runs. */
int pause_prepare(Snapshot *snapshot, Error *error);

/* The pause: device state, dirty pages, disks. Afterwards the guest runs as before, also on failure
 * (unless the connection to QEMU is lost), or, with stay_paused and success, is held. */
int pause_run(Snapshot *snapshot, Error *error);

/* Takes back what pause_prepare did, as far as it is not in use. */
void pause_undo(Snapshot *snapshot);

#endif
