/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_RESTORE_MEMORY_H
#define RAMET_FROZEN_RESTORE_MEMORY_H

/* The memory that a VM maps when it comes out of a snapshot. */

#include "home/home.h"
#include "proto/plan.h"
#include "qemu/features.h"
#include "store/snapshots.h"
#include "store/vms.h"

typedef struct RestoreMemory {
    int fd;                 /* owned: the file, or a sealed memfd */
    char *name;             /* owned: as `inspect` shows it */
    char owner[VM_ID_SIZE]; /* the snapshot whose memory it is: diffs of the VM stand on that */
    size_t n_patches;
    int patches[PLAN_PATCHES_MAX]; /* owned: diffs that the VM alone gets over it, oldest first */
} RestoreMemory;

void restore_memory_free(RestoreMemory *memory);
#define _cleanup_restore_memory_ _cleanup_(restore_memory_free)

/* Opens it into a struct that is freed also on failure. shared: the VM is one of many, so all of
 * the memory is one that they share; else what the snapshot added to another one is patched into
 * the VM alone. Where a shared one is more than the budget for hot memory, it is patched as well,
 * and `trouble` (empty before) says so. ERROR_CORRUPT: a file is not what was saved. */
int restore_memory_open(Home *home, const QemuFeatures *features, const SnapshotRow *snapshot,
                        bool shared, RestoreMemory *memory, Error *trouble, Error *error);

/* A snapshot's memory in a sealed memfd, whatever a restore would map: hot, or made so. *fd is the
 * caller's.
 */
int restore_memory_open_hot(Home *home, const SnapshotRow *row, int *fd, Error *error);

/* How many diffs a restore goes through down to a memory base: 0 for a base. */
unsigned restore_memory_depth(Home *home, const char *id);

/* Does this host's QEMU map memory bases only as sealed memfds? */
bool restore_memory_seals_bases(Home *home);

/* What is wrong with a snapshot's hot memory, the caller's; NULL: nothing, or it is not hot. */
char *restore_memory_find_problem(Home *home, const SnapshotRow *snapshot);

#endif
