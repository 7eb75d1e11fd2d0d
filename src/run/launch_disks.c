/* SPDX-License-Identifier: Apache-2.0 */

/* The disks of a VM in the order of their numbers (frozen/disks.h), which is that of its devices
 * and so part of a snapshot's key. The root disk and seeds are chains of files under an overlay of
 * the VM's own; a config disk is a frozen base itself. */

#include "run/launch_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "disk/base_file.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "storage/volumes.h"

#define PLAIN_IN_PATHS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:"

static int add_chain(LaunchFiles *files, LayerChain *chain, PlanDisk *disk, Error *error) {
    if (!launch_files_have_room(files, chain->count) || chain->count >= PLAN_CHAIN_MAX)
        return error_set(error, ERROR_UNSUPPORTED, E2BIG,
                         "its disks have more layers than can be open at a time");
    for (size_t i = 0; i < chain->count; i++) {
        PlanDiskFile *file = &disk->files[disk->n_files++];
        *file = (PlanDiskFile){.fd_write = PLAN_NO_FD};
        file->fd = launch_files_add(files, TAKE_FD(chain->files[i].fd));
        (void)snprintf(file->format, sizeof(file->format), "%s", chain->files[i].format);
    }
    return 0;
}

static int plan_overlay(Home *home, const VmRow *row, size_t number, int dir_fd, LaunchFiles *files,
                        PlanDisk *disk, Error *error) {
    _cleanup_layer_chain_ LayerChain chain = {0};
    _cleanup_free_ char *base = vm_disk_base(home, row, number);
    PlanDiskFile *overlay = &disk->files[disk->n_files++];
    const char *name = vm_disk_file(row, number);
    int r;
    *overlay = (PlanDiskFile){.format = "qcow2"};
    r = launch_files_open(files, dir_fd, name, O_RDONLY, &overlay->fd, error);
    if (r >= 0)
        r = launch_files_open(files, dir_fd, name, O_RDWR, &overlay->fd_write, error);
    if (r >= 0)
        r = layer_chain_open(home, vm_disk(row, number)->layer, base, &chain, error);
    return r < 0 ? r : add_chain(files, &chain, disk, error);
}

static int plan_base(Home *home, const VmRow *row, size_t number, LaunchFiles *files,
                     PlanDisk *disk, Error *error) {
    _cleanup_free_ char *path = vm_disk_base(home, row, number);
    PlanDiskFile *file = &disk->files[disk->n_files++];
    disk->read_only = true;
    *file = (PlanDiskFile){.format = "raw", .fd_write = PLAN_NO_FD};
    return launch_files_open(files, AT_FDCWD, path, O_RDONLY, &file->fd, error);
}

/* The lock is on what QEMU has open. */
static int plan_volume(Home *home, const VmRow *row, const VmMount *mount, LaunchFiles *files,
                       PlanDisk *disk, Error *error) {
    _cleanup_free_ char *path = volume_path(home, mount->volume);
    PlanDiskFile *file = &disk->files[disk->n_files++];
    bool writes = vm_mount_is_shared(mount);
    int fd, r = volume_open_locked(home, mount->volume, mount->name, row->id, writes, &fd, error);
    *file = (PlanDiskFile){.format = "raw", .fd_write = PLAN_NO_FD};
    disk->read_only = !writes;
    disk->outlives = writes;
    if (r < 0)
        return r;
    file->fd = launch_files_add(files, fd);
    if (!writes)
        return 0;
    file->fd_write = file->fd;
    return launch_files_open(files, AT_FDCWD, path, O_RDONLY, &file->fd, error);
}

static int plan_disk(Home *home, const VmRow *row, size_t number, int dir_fd, LaunchFiles *files,
                     PlanDisk *disk, Error *error) {
    const VmMount *mount = vm_disk_mount(row, number);
    *disk = (PlanDisk){.serial = "root"};
    if (mount)
        vm_mount_serial(&row->spec.mounts, number - 1, disk->serial);
    if (vm_disk_has_overlay(row, number))
        return plan_overlay(home, row, number, dir_fd, files, disk, error);
    if (mount && mount->kind == VM_MOUNT_VOLUME)
        return plan_volume(home, row, mount, files, disk, error);
    return plan_base(home, row, number, files, disk, error);
}

int launch_plan_disks(Home *home, const VmRow *row, int dir_fd, LaunchFiles *files, Plan *plan,
                      bool restores, Error *error) {
    int checked = restores ? vm_disks_check_volumes(home, row, error) : 0;
    if (checked < 0)
        return checked;
    for (size_t i = 0; i < vm_disk_count(row); i++) {
        const VmMount *mount = vm_disk_mount(row, i);
        int r = plan_disk(home, row, i, dir_fd, files, &plan->disks[i], error);
        if (r < 0)
            return error_add_context(error, "the disk%s%s", mount ? " at " : "",
                                     mount ? mount->path : "");
    }
    plan->n_disks = vm_disk_count(row);
    return 0;
}

static void add_path(const char *path, StrBuf *text) {
    for (; *path; path++)
        strbuf_add_format(text, strchr(PLAIN_IN_PATHS, *path) ? "%c" : "%%%02x",
                          (unsigned char)*path);
}

static void add_mount(const VmMounts *mounts, size_t index, StrBuf *text) {
    const VmMount *mount = &mounts->items[index];
    bool read_only = mount->read_only || mount->kind == VM_MOUNT_CONFIG;
    char serial[VM_SERIAL_SIZE];
    vm_mount_serial(mounts, index, serial);
    strbuf_add_format(text, "%s,%s,", serial, read_only ? "ro" : "rw");
    add_path(mount->path, text);
}

void launch_add_mounts(const VmRow *row, StrBuf *cmdline) {
    for (size_t i = 0; i < row->spec.mounts.count; i++) {
        strbuf_add_text(cmdline, " ramet.mount=");
        add_mount(&row->spec.mounts, i, cmdline);
    }
}

int launch_mount_lines(const VmRow *row, char *lines, size_t room, Error *error) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    for (size_t i = 0; i < row->spec.mounts.count; i++) {
        strbuf_add_text(&text, i > 0 ? "\n" : "");
        add_mount(&row->spec.mounts, i, &text);
    }
    if (text.size >= room)
        return error_set(error, ERROR_USAGE, E2BIG, "the paths of its disks are too long");
    (void)snprintf(lines, room, "%s", text.data ? text.data : "");
    return 0;
}
