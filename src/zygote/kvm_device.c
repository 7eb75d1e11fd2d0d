/* SPDX-License-Identifier: Apache-2.0 */
#include "zygote/kvm_device.h"

/* Debian's udev gives the device to the group kvm, systemd's own rules to everybody, and a bare
 * devtmpfs to root alone. For the last, this is what libvirt does for all of its VMs: a node of the
 * same device in a file system that only this process and its children see. */

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"
#define SCRATCH "/tmp" /* any folder: it is covered for a moment, and for nobody else */
#define NODE SCRATCH "/kvm"

static int make_node(const struct stat *device, uid_t uid) {
    if (mknod(NODE, S_IFCHR | 0600, device->st_rdev) < 0 || chown(NODE, uid, (gid_t)-1) < 0 ||
        mount(NODE, DEVICE, NULL, MS_BIND, NULL) < 0)
        return -errno;
    return 0;
}

static int make_own(const struct stat *device, uid_t uid) {
    int r;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
        mount("kvm", SCRATCH, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,mode=0700") < 0)
        return -errno;
    r = make_node(device, uid);
    if (umount2(SCRATCH, MNT_DETACH) < 0 && r == 0)
        r = -errno;
    return r;
}

int kvm_device_admit(uid_t uid, gid_t *group) {
    struct stat device;
    if (stat(DEVICE, &device) < 0)
        return -errno;
    if ((device.st_mode & 06) == 06) {
        *group = 0;
        return 0;
    }
    if ((device.st_mode & 060) == 060 && device.st_gid != 0) {
        *group = device.st_gid;
        return 0;
    }
    *group = 0;
    return make_own(&device, uid);
}
