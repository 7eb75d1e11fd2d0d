/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_VM_RUNTIME_H
#define RAMET_STORE_VM_RUNTIME_H

/* What a VM is right now: what its disk and memory stand on, and what is known of its run. */

#include "base/json.h"
#include "base/process/process.h"
#include "proto/plan.h"
#include "store/disks/vm_disk.h"
#include "store/frozen.h"
#include "store/guest_macs.h"
#include "store/impairment.h"
#include "store/vm_policy.h"

/* What a card is called on its network. */
typedef struct VmAddress {
    char mac[18];
    char ip[16];  /* empty: none */
    char ip6[46]; /* the same */
} VmAddress;

typedef struct VmAddresses {
    size_t count;
    VmAddress items[PLAN_CARDS_MAX - 1];
} VmAddresses;

typedef struct VmRuntime {
    /* what it is made of */
    char *base; /* owned: path of its image's base */
    VmDisk root;
    VmDisks disks; /* of its specification's mounts */
    char kernel_key[80];
    char initramfs_key[80];
    char hostname[64];
    char ssh_host_key[SSH_PUBLIC_KEY_SIZE]; /* public, as it was given one; empty: none */
    char machine_id[VM_ID_SIZE]; /* that of its source, which it keeps; empty: its own id */
    char ip[16]; /* of its first card, and so is ip6; its MAC address is the row's */
    char ip6[46];
    VmAddresses further; /* of its other cards: vm_address() */
    Impairment impair;   /* of its place in its networks */
    char hidden[8];      /* "cache", "kernel", "pool": the daemon's own, never shown */
    VmTimers timers;     /* what happens to it by itself */
    bool has_cgroup;     /* its processes are in one of their own, or were in its last run */
    bool half_run;       /* made by a `run` that has not got ready yet */
    /* of all its cards since its last start */
    char guest_macs[GUEST_MACS_SIZE];

    /* its run */
    ProcessIdentity keeper, qemu;
    char boot[16]; /* "cold", "forked", "restored", "claimed" */
    char accel[8];
    char machine[32];
    char network_device[64]; /* what a device state has of its networks (frozen/snapshot_key.h): a
                                clone has that of its source */
    bool user_switched; /* its card in the network user is a switch's, as it was not QEMU's own in
                           earlier versions */
    char agent_version[32];
    SnapshotFacts facts; /* owned: what it runs under, for its snapshots */
    json_t *held;        /* owned: true, false; NULL: nobody had to be held */
    json_t *stages;      /* owned: of its last start */
    json_t *exit;        /* owned: how its last run ended */
    json_t *error;       /* owned: why it failed */
    json_t *fallback;    /* owned: the way to start that was tried first, and failed */
    json_t *program;     /* owned: how its program ended: {"exit_status","ended_at"}; NULL: it did
                            not, as far as is known */
    bool silent;         /* its guest does not answer */
    bool no_room;        /* it is paused until the host has room for what it writes */

    /* its memory */
    char *memory_base; /* owned: as `inspect` shows it */
    uint64_t memory_inode;
    char memory_snapshot[VM_ID_SIZE]; /* that it was restored from */
    char memory_owner[VM_ID_SIZE];    /* the snapshot whose memory base it maps */
    bool memory_adopted;      /* a snapshot of its own, which it does not need (machine/adopt.c) */
    uint64_t warm_bytes;      /* what a warm clone took when it had got warm */
    char standby[VM_ID_SIZE]; /* the snapshot that its memory waits in */
    bool standing_by;         /* on its way to standby */

    json_t *unknown; /* owned: members of a later version; NULL: none */
} VmRuntime;

/* As an object, the caller's. */
json_t *vm_runtime_to_json(const VmRuntime *runtime);

/* Into a struct of zeroes. json may be NULL. */
void vm_runtime_from_json(const json_t *json, VmRuntime *runtime);

/* Leaves zeroes. */
void vm_runtime_free(VmRuntime *runtime);

#endif
