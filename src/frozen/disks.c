/* SPDX-License-Identifier: Apache-2.0 */

#include "frozen/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/stamp.h"
#include "home/inside.h"
#include "home/row.h"

size_t vm_disk_count(const VmRow *row) {
    return 1 + row->spec.mounts.count;
}

VmDisk *vm_disk_of(VmRow *row, size_t disk) {
    return disk == 0 ? &row->runtime.root : &row->runtime.disks.items[disk - 1];
}

const VmDisk *vm_disk(const VmRow *row, size_t disk) {
    return disk == 0 ? &row->runtime.root : &row->runtime.disks.items[disk - 1];
}

const VmMount *vm_disk_mount(const VmRow *row, size_t disk) {
    return disk == 0 ? NULL : &row->spec.mounts.items[disk - 1];
}

bool vm_disk_has_overlay(const VmRow *row, size_t disk) {
    return disk == 0 || vm_mount_has_overlay(vm_disk_mount(row, disk));
}

const char *vm_disk_file(const VmRow *row, size_t disk) {
    const char *name = vm_disk(row, disk)->file;
    return *name ? name : "disk.qcow2";
}

char *volume_path(const Home *home, const char *id) {
    _cleanup_free_ char *name = str_format("%s.raw", id);
    return path_join(home->path, "volumes", name);
}

char *vm_disk_base(const Home *home, const VmRow *row, size_t disk) {
    const VmMount *mount = vm_disk_mount(row, disk);
    if (!mount)
        return str_copy(str_or_empty(row->runtime.base));
    return mount->kind == VM_MOUNT_VOLUME ? volume_path(home, mount->volume)
                                          : seed_base_path(home->path, mount->base);
}

uint64_t vm_disk_bytes(const VmRow *row, size_t disk) {
    return disk == 0 ? row->spec.disk_bytes : vm_disk_mount(row, disk)->bytes;
}

/* ---- overlays ---- */

void vm_disks_plan(VmRow *row) {
    VmDisks *disks = &row->runtime.disks;
    *disks = (VmDisks){.count = row->spec.mounts.count};
    for (size_t i = 0; i < disks->count; i++)
        if (vm_mount_has_overlay(&row->spec.mounts.items[i]))
            (void)snprintf(disks->items[i].file, sizeof(disks->items[i].file), "seed-%zu.qcow2",
                           i + 1);
}

void vm_disks_stand_on(VmRow *row, const char *root_layer, const VmDisks *disks) {
    str_set(row->runtime.root.layer, root_layer);
    for (size_t i = 0; i < row->spec.mounts.count; i++) {
        VmDisk *disk = &row->runtime.disks.items[i];
        str_set(disk->layer, disks ? disks->items[i].layer : "");
        disk->stamp = disks ? disks->items[i].stamp : (FileStamp){0};
    }
}

/* ---- the disks of a VM in standby ---- */

/* What is written to: the overlay, or the volume. */
static int open_written(Home *home, const VmRow *row, size_t disk, Error *error) {
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int dir_fd = -1;
    int fd, r;
    if (vm_disk_has_overlay(row, disk)) {
        path = str_copy(vm_disk_file(row, disk));
        r = vm_folder_open(home, row->id, &dir_fd, error);
        if (r < 0)
            return r;
    } else {
        path = vm_disk_base(home, row, disk);
    }
    fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? error_set_errno(error, errno, "cannot open %s", path) : fd;
}

static bool is_config(const VmRow *row, size_t disk) {
    return disk > 0 && vm_disk_mount(row, disk)->kind == VM_MOUNT_CONFIG;
}

int standby_disks_remember(Home *home, VmRow *row, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm_disk_count(row); i++) {
        _cleanup_close_ int fd = is_config(row, i) ? -1 : open_written(home, row, i, error);
        if (!is_config(row, i))
            r = fd < 0 ? fd : stamp_make(fd, &vm_disk_of(row, i)->stamp, error);
    }
    return r;
}

static int check_one(Home *home, const VmRow *row, size_t disk, Error *error) {
    const FileStamp *stamp = &vm_disk(row, disk)->stamp;
    _cleanup_close_ int fd = stamp->inode || disk == 0 ? open_written(home, row, disk, error) : -1;
    if (fd < 0 || !stamp->inode)
        return fd < 0 && (stamp->inode || disk == 0) ? fd : 0;
    if (stamp_check(fd, stamp, "", "its disk", error) >= 0)
        return 0;
    error_set(error, ERROR_CORRUPT, EBADMSG, "its disk%s%s was written to since it is in standby",
              disk ? " at " : "", disk ? vm_disk_mount(row, disk)->path : "");
    error_set_hint(error, "ramet stop discards the saved memory, and start boots it anew");
    return -EBADMSG;
}

int standby_disks_check(Home *home, const VmRow *row, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm_disk_count(row); i++)
        r = check_one(home, row, i, error);
    return r;
}

bool standby_disks_are_unchanged(Home *home, const VmRow *row) {
    return *row->runtime.standby && standby_disks_check(home, row, NULL) >= 0;
}

void standby_disks_forget(VmRow *row) {
    for (size_t i = 0; i < vm_disk_count(row); i++)
        vm_disk_of(row, i)->stamp = (FileStamp){0};
}

/* ---- volumes ---- */

static bool only_reads(const VmMount *mount) {
    return mount->kind == VM_MOUNT_VOLUME && mount->read_only;
}

int vm_disks_stamp_volumes(Home *home, const VmRow *row, VmDisks *disks, Error *error) {
    int r = 0;
    for (size_t i = 1; r >= 0 && i < vm_disk_count(row); i++) {
        if (!only_reads(vm_disk_mount(row, i)))
            continue;
        _cleanup_close_ int fd = open_written(home, row, i, error);
        r = fd < 0 ? fd : stamp_make(fd, &disks->items[i - 1].stamp, error);
    }
    return r;
}

int vm_disks_check_volumes(Home *home, const VmRow *row, Error *error) {
    for (size_t i = 1; i < vm_disk_count(row); i++) {
        const VmMount *mount = vm_disk_mount(row, i);
        if (!only_reads(mount) || !vm_disk(row, i)->stamp.inode)
            continue;
        _cleanup_close_ int fd = open_written(home, row, i, error);
        if (fd < 0)
            return fd;
        if (stamp_check(fd, &vm_disk(row, i)->stamp, "", mount->name, NULL) >= 0)
            continue;
        error_set(error, ERROR_CONFLICT, EBUSY,
                  "volume %s was written to since the snapshot that has it in its memory",
                  mount->name);
        error_set_hint(error, "take a new snapshot, or start a VM with --cold");
        return -EBUSY;
    }
    return 0;
}
