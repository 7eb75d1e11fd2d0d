/* SPDX-License-Identifier: Apache-2.0 */

/* The disk for cloud-init is part of the machine: a clone has that of its source, which is
 * empty-handed by then, but its guest knows of it. It comes after all other disks, whose numbers
 * are those of the VM's (frozen/disks.h). The agent is told where those are to be mounted when it
 * is greeted. */

#include "run/launch_firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/uefi_firmware.h"
#include "frozen/uefi_variables.h"
#include "home/inside.h"
#include "image/context.h"
#include "image/firmware.h"
#include "image/nocloud.h"
#include "run/launch_disks.h"

/* Of a guest that boots: by the agent that is there now. */
static int find_nocloud(const Home *home, Operation *operation, VmRow *row, bool restores,
                        const char *home_key, char **path, Error *error) {
    ImageContext context = {.home = home->path, .cancel_fd = operation->cancel_fd};
    _cleanup_free_ char *key = NULL, *folder = NULL;
    int r;
    if (restores) {
        folder = path_join(home->path, "initramfs");
        *path = path_join(folder, row->runtime.initramfs_key);
        return 0;
    }
    r = nocloud_ensure(&context, home->agent, home_key, path, &key, error);
    if (r >= 0)
        str_set(row->runtime.initramfs_key, key);
    return r;
}

/* Its agent comes late, and perhaps never: nothing on the serial port is no bad sign, since its
 * kernel may have the console elsewhere. */
void launch_firmware_bounds(const Home *home, Plan *plan) {
    uint64_t ready = (str_equal(plan->accel, "kvm") ? 150 : 900) * USEC_PER_SEC;
    plan->silence_cpu_usec = plan->silence_timeout_usec = 0;
    plan->ready_timeout_usec = home->ready_timeout_usec ? home->ready_timeout_usec : ready;
}

/* The disk for cloud-init is the last one. */
static int check_room(const VmRow *row, const Plan *plan, Error *error) {
    if (plan->n_disks < PLAN_DISKS_MAX)
        return 0;
    return error_set(error, ERROR_USAGE, E2BIG,
                     "%s boots by its own boot loader, and such VMs have at most %d disks beside "
                     "their root",
                     row->image, VM_MOUNTS_MAX - 1);
}

/* A VM that has no variables yet grows from the snapshot in its row, with or without memory. */
static int plan_uefi(const Home *home, const VmRow *row, int dir_fd, LaunchFiles *files, Plan *plan,
                     Error *error) {
    int fd, r;
    if (access(UEFI_CODE, R_OK) < 0 || access(UEFI_VARIABLES, R_OK) < 0) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT, "UEFI's firmware for VMs is not installed");
        error_set_hint(error, "install the package ovmf");
        return -ENOENT;
    }
    r = launch_files_open(files, AT_FDCWD, UEFI_CODE, O_RDONLY, &plan->firmware_fd, error);
    if (r >= 0)
        r = uefi_variables_open(home, dir_fd, row->snapshot, &fd, error);
    if (r >= 0)
        plan->variables_fd = launch_files_add(files, fd);
    return r;
}

int launch_plan_firmware(const Home *home, Operation *operation, VmRow *row, const Restore *restore,
                         int dir_fd, LaunchFiles *files, Plan *plan, Error *error) {
    _cleanup_free_ char *path = NULL;
    PlanDisk *disk;
    const char *key = row->runtime.kernel_key;
    int r;
    if (!firmware_is(key))
        return 0;
    r = check_room(row, plan, error);
    if (r >= 0)
        r = launch_mount_lines(row, plan->identity.mounts, sizeof(plan->identity.mounts), error);
    if (r < 0)
        return r;
    disk = &plan->disks[plan->n_disks];
    plan->firmware = str_equal(key, FIRMWARE_UEFI) ? PLAN_FIRMWARE_UEFI : PLAN_FIRMWARE_BIOS;
    plan->agent_optional = !restore;
    r = plan->firmware == PLAN_FIRMWARE_UEFI ? plan_uefi(home, row, dir_fd, files, plan, error) : 0;
    if (r < 0)
        return r;
    r = find_nocloud(home, operation, row, restore != NULL, plan->identity.home_key, &path, error);
    *disk = (PlanDisk){.serial = "cidata", .read_only = true, .n_files = 1};
    disk->files[0] = (PlanDiskFile){.fd_write = PLAN_NO_FD, .format = "raw"};
    if (r >= 0)
        r = launch_files_open(files, AT_FDCWD, path, O_RDONLY, &disk->files[0].fd, error);
    if (r < 0)
        return error_add_context(error, "the disk for cloud-init");
    plan->n_disks++;
    return 0;
}
