/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_VOLUME_CLONE_H
#define RAMET_STORAGE_VOLUME_CLONE_H

/* What a snapshot has of volumes that its VM writes to: a copy of each, as a base that is frozen,
 * so that a clone has a disk of its own over it, as over a seed. */

#include "disk/publish.h"
#include "home/home.h"
#include "store/vms.h"

typedef struct VolumeClones {
    size_t count;
    struct {
        Publish *publish; /* owned */
        char base[VM_BASE_SIZE];
        size_t mount;
    } items[VM_MOUNTS_MAX];
} VolumeClones;

/* ERROR_CONFLICT when the VM writes to a volume and no copies are wanted. */
int volume_clones_check(const VmRow *vm, bool wanted, Error *error);

/* Scratch for each, and the names in the mounts of the snapshot. The caller holds the bases. */
int volume_clones_begin(Home *home, const VmRow *vm, VmMounts *mounts, VolumeClones *clones,
                        Error *error);

/* Copies all of them, while nobody writes: by reflink where the file system can. */
int volume_clones_copy(Home *home, const VmRow *vm, VolumeClones *clones, Error *error);

/* Makes them durable. */
int volume_clones_publish(VolumeClones *clones, Error *error);

void volume_clones_free(VolumeClones *clones);

#endif
