/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_PAUSE_H
#define RAMET_KEEPER_TASKS_PAUSE_H

/* The part of a snapshot in which the guest stands still (snapshot.c has the whole). */

#include "keeper/tasks/loop_job.h"
#include "keeper/tasks/vm.h"
#include "memory/capture.h"

typedef struct SnapshotDisk {
    size_t index; /* of the plan's disk */
    int fd;       /* owned: the new overlay, for reading */
    int fd_write; /* owned: for reading and writing */
    unsigned fdset;
    char node[QEMU_NODE_NAME_SIZE];
} SnapshotDisk;

struct Snapshot {
    Vm *vm;         /* borrowed */
    Reply *reply;   /* borrowed; NULL once who asked is gone */
    int state_fd;   /* owned: write-only */
    int memory_fd;  /* owned: the file that the memory is written to */
    int capture_fd; /* owned: the memfd that it is copied into */
    bool whole;     /* the memfd gets all of it, for clones to map */
    size_t n_disks; /* 0: they stay as they are */
    SnapshotDisk disks[PLAN_DISKS_MAX];
    bool wants_full; /* a new base in the file, whatever is dirty */
    bool unwritten;  /* the file stays empty */
    bool wants_freeze;
    uint64_t freeze_timeout_usec;
    bool stay_paused;
    bool was_paused;
    bool runs_to_freeze;  /* it was paused, and runs until it is frozen */
    bool frozen;          /* now */
    bool state_frozen;    /* the state was taken so */
    bool wants_adoption;  /* the VM may map the snapshot's memory afterwards */
    const char *adoption; /* static: why it may not; "": it may; NULL: nobody asked */
    bool for_fork;        /* clones grow from it: nobody but the agent may run in them at first */
    AgentResult freeze;
    bool switched;
    LinkStream *freezing; /* borrowed from the link */
    LoopSource *timer;
    LoopJob *job; /* owned: what goes on in another thread */
    int job_result;
    Error job_error;
    GuestRam ram;          /* open from the copying on */
    MemoryCapture capture; /* the same */
    bool captured;         /* it has all */
    bool full;             /* the file holds a new base, no diff */
    unsigned state_fdset;
    bool in_group;           /* it waits for others, and is told when to go on */
    LoopTimerHandler next;   /* what comes then */
    bool prepared;           /* pause_undo is due */
    uint64_t paused_at_usec; /* monotonic: the pause began; 0: it has not */
    uint64_t pause_usec;
};

/* Opens the new overlays in QEMU while the guest runs. */
int pause_prepare(Snapshot *snapshot, Error *error);

/* The pause's begin alone, for one that others are waited for in: the virtual CPUs stop. */
int pause_begin(Snapshot *snapshot, Error *error);

/* Ends such a pause of which nothing came. */
void pause_give_up(Snapshot *snapshot);

/* The pause: device state, dirty pages, disks. Afterwards the guest runs as before, also on failure
 * (unless the connection to QEMU is lost), or, with stay_paused and success, stays paused. */
int pause_run(Snapshot *snapshot, Error *error);

/* Takes back what pause_prepare did, as far as it is not in use. */
void pause_undo(Snapshot *snapshot);

#endif
