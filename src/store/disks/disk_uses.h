/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_DISKS_DISK_USES_H
#define RAMET_STORE_DISKS_DISK_USES_H

/* The table of what VMs and snapshots have beside their root disk, so that who uses a seed, a
 * volume or a layer can be asked for. Written with the rows of both, and gone with them. */

#include "base/error.h"
#include "store/disks/vm_disk.h"
#include "store/store.h"

/* A row for each mount. owner: id of the VM or snapshot. disks: as many; NULL: none yet. */
int disk_uses_write(Store *store, const char *owner, const VmMounts *mounts, const VmDisks *disks,
                    Error *error);

/* How many VMs, snapshots, seeds and images have the base. */
int disk_uses_count_base(Store *store, const char *base, uint64_t *count, Error *error);

/* The VMs, and snapshots, that have the base. At most max. */
typedef struct DiskUser {
    char name[NAME_SIZE];
    char id[VM_ID_SIZE];
    char state[16]; /* of a VM; else "snapshot" or "lab snapshot" */
    bool read_only;
    bool automatic; /* a snapshot that nobody asked for, such as an entry of the boot cache */
} DiskUser;
int disk_uses_list_of_base(Store *store, const char *base, DiskUser *users, size_t max,
                           size_t *count, Error *error);

/* The same of a volume, by its id. */
int disk_uses_list_of_volume(Store *store, const char *volume, DiskUser *users, size_t max,
                             size_t *count, Error *error);

#endif
