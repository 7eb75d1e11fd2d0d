/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_DISKS_H
#define RAMET_FROZEN_DISKS_H

/* The disks of a VM by their number: 0 is the root disk, then those of its mounts. */

#include "base/error.h"
#include "home/home.h"
#include "store/vms.h"

/* At least 1. */
size_t vm_disk_count(const VmRow *row);

/* What it is right now. Borrowed from the row. */
const VmDisk *vm_disk(const VmRow *row, size_t disk);
VmDisk *vm_disk_of(VmRow *row, size_t disk);

/* What was asked for; NULL: the root disk. Borrowed from the row. */
const VmMount *vm_disk_mount(const VmRow *row, size_t disk);

/* Has it an overlay of the VM's own? Else it is a volume, or a base that is only read. */
bool vm_disk_has_overlay(const VmRow *row, size_t disk);

/* The active overlay's name in the VM's folder. Borrowed from the row. */
const char *vm_disk_file(const VmRow *row, size_t disk);

/* The raw file at the end of its chain, or the volume; the caller owns the path. */
char *vm_disk_base(const Home *home, const VmRow *row, size_t disk);

/* Size that the guest sees. */
uint64_t vm_disk_bytes(const VmRow *row, size_t disk);

/* "HOME/volumes/ID.raw"; the caller owns it. */
char *volume_path(const Home *home, const char *id);

/* Each disk of the mounts, of a VM that is planned: nothing was written to it. */
void vm_disks_plan(VmRow *row);

/* Lets the overlays, in which nothing is, stand on layers of a snapshot; disks NULL: on the bases.
 */
void vm_disks_stand_on(VmRow *row, const char *root_layer, const VmDisks *disks);

/* The disks of a VM in standby fit its memory only as they were then. remember: puts their stamps
 * into the row. check: ERROR_CORRUPT when one was written to since. is_unchanged: it is in standby,
 * and none was. */
int standby_disks_remember(Home *home, VmRow *row, Error *error);
int standby_disks_check(Home *home, const VmRow *row, Error *error);
bool standby_disks_are_unchanged(Home *home, const VmRow *row);
void standby_disks_forget(VmRow *row);

/* Was a volume that the VM only reads written to since the stamp of it was taken? A clone's memory
 * has what was on it then. ERROR_CONFLICT. */
int vm_disks_check_volumes(Home *home, const VmRow *row, Error *error);

/* Takes the stamps of the volumes that the VM reads, for its snapshot. */
int vm_disks_stamp_volumes(Home *home, const VmRow *row, VmDisks *disks, Error *error);

#endif
