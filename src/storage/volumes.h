/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORAGE_VOLUMES_H
#define RAMET_STORAGE_VOLUMES_H

/* Volumes: disks that outlive VMs, HOME/volumes/ID.raw. One VM writes to one, or many read it. A
 * volume as JSON: id name path virtual_bytes allocated_bytes source created_at
 * users[{name state read_only}]. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"

typedef struct VolumeOptions { /* all borrowed */
    const char *name;
    uint64_t size_bytes; /* 0: as what it is made of */
    const char *seed;    /* name of a seed; NULL: none */
    int fd;              /* a raw, qcow2, VMDK or VHDX file; -1: none */
    const char *source;  /* its path, for people */
} VolumeOptions;

/* Empty (an ext4 without content), or a copy. ERROR_CONFLICT when the name is taken. */
int volume_create(Home *home, Operation *operation, const VolumeOptions *options, json_t **volume,
                  Error *error);
int volume_list(Home *home, json_t **list, Error *error);
int volume_inspect(Home *home, const char *reference, json_t **volume, Error *error);

/* ERROR_CONFLICT when a VM or a snapshot has it. */
int volume_remove(Home *home, const char *reference, Error *error);

/* Copies what is on it into a new file, raw (holes as holes) or qcow2. ERROR_CONFLICT while a VM
 * writes to it, or when the file is there. */
int volume_export(Home *home, Operation *operation, const char *reference, const char *path,
                  const char *format, Error *error);

/* Removes files of volumes that have no row: a daemon died while one was made. */
void volumes_collect(Home *home);

/* Opens the volume's file and locks it for as long as that description is open, whoever has it
 * then: alone to write, with others to read. ERROR_CONFLICT, which names who has it, when it is
 * locked otherwise, or a VM in standby other than `vm` (id; NULL: none is meant) has it in its
 * memory and one of both writes. The descriptor is the caller's. */
int volume_open_locked(Home *home, const char *id, const char *name, const char *vm, bool writes,
                       int *fd, Error *error);

#endif
