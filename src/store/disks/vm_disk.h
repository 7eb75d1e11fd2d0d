/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_DISKS_VM_DISK_H
#define RAMET_STORE_DISKS_VM_DISK_H

/* Disks of VMs beside the root disk: what was asked for (VmMount, of a specification), and what a
 * disk that is written to is right now (VmDisk, of a runtime; the root disk is one, too). */

#include "base/json.h"
#include "base/path.h"
#include "proto/plan.h"
#include "store/frozen.h"

#define VM_ID_SIZE 33 /* 32 hexadecimal digits and the NUL */

typedef enum VmMountKind {
    VM_MOUNT_SEED,   /* an overlay of its own over a frozen base */
    VM_MOUNT_VOLUME, /* the volume itself */
    VM_MOUNT_CONFIG, /* a frozen base itself, read-only */
} VmMountKind;

#define VM_MOUNTS_MAX (PLAN_DISKS_MAX - 1)
#define VM_MOUNT_PATH_SIZE 128
#define VM_BASE_SIZE 80 /* "tree1:HEX" */

typedef struct VmMount {
    VmMountKind kind;
    char name[NAME_SIZE];          /* of the seed or volume; empty: it has none */
    char path[VM_MOUNT_PATH_SIZE]; /* where the guest has it; absolute, as path_is_mount() wants */
    char base[VM_BASE_SIZE];       /* of a seed or a config disk, once it is known */
    char volume[VM_ID_SIZE];       /* its id, once it is known */
    uint64_t bytes;                /* that the guest sees; 0: as the seed is */
    bool read_only;                /* of a volume */
    bool of_image;                 /* nobody asked for it: the image brings it */
} VmMount;

typedef struct VmMounts {
    size_t count;
    VmMount items[VM_MOUNTS_MAX];
} VmMounts;

/* "seed", "volume", "config". Static. */
const char *vm_mount_kind_name(VmMountKind kind);

/* The serial of the disk in the guest, of mount `index`: "seed-1", "volume-2", "config-3". */
#define VM_SERIAL_SIZE 21
void vm_mount_serial(const VmMounts *mounts, size_t index, char serial[VM_SERIAL_SIZE]);

/* Has it an overlay of its own, as the root disk has? */
bool vm_mount_has_overlay(const VmMount *mount);

/* Is it a volume that is written to? */
bool vm_mount_is_shared(const VmMount *mount);

/* One that is mounted at that path, and its index; NULL: none. */
const VmMount *vm_mounts_find(const VmMounts *mounts, const char *path, size_t *index);

/* Are they the same disks at the same places? */
bool vm_mounts_equal(const VmMounts *a, const VmMounts *b);

/* A disk while it is frozen; empty: it is not. */
typedef struct Freezing {
    char layer[VM_ID_SIZE]; /* what its overlay becomes */
    char file[48];          /* the overlay that comes in its place */
} Freezing;

typedef struct VmDisk {
    char layer[VM_ID_SIZE]; /* that its overlay stands on; empty: the base */
    char file[48];          /* its overlay in the VM's folder; empty: the first one */
    uint64_t number;        /* of the last overlay that was made */
    Freezing freezing;
    FileStamp stamp; /* of the file that is written to, as a saved memory fits it */
} VmDisk;

/* Those of the mounts, in their order. */
typedef struct VmDisks {
    size_t count;
    VmDisk items[VM_MOUNTS_MAX];
} VmDisks;

/* As a list, the caller's. */
json_t *vm_mounts_to_json(const VmMounts *mounts);

#endif
