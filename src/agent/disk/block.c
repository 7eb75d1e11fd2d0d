/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/block.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#define VIRTIO_DEVICES_MAX 64

/* Where each keeps its magic: Documentation/filesystems/ext4/super.rst (ext4 at 1024 + 0x38), the
 * btrfs on-disk format (65536 + 0x40), xfs_format.h (0), ECMA-119 (the
 * sector 16), the boot sectors of FAT (FAT32, FAT16, FAT12). */
static const struct {
    const char *type;
    off_t offset;
    const char *magic;
    size_t size;
} known_types[] = {
    {"ext4", 1024 + 0x38, "\x53\xef", 2},
    {"btrfs", 65536 + 0x40, "_BHRfS_M", 8},
    {"xfs", 0, "XFSB", 4},
    {"iso9660", 32769, "CD001", 5},
    {"vfat", 82, "FAT32   ", 8},
    {"vfat", 54, "FAT16   ", 8},
    {"vfat", 54, "FAT12   ", 8},
};

const char *block_probe_type(const char *device) {
    _cleanup_close_ int fd = open(device, O_RDONLY | O_CLOEXEC);
    char found[8];
    for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(known_types); i++)
        if (pread(fd, found, known_types[i].size, known_types[i].offset) ==
                (ssize_t)known_types[i].size &&
            memcmp(found, known_types[i].magic, known_types[i].size) == 0)
            return known_types[i].type;
    return NULL;
}

int block_find_serial(const char *wanted, char *name, size_t room) {
    DIR *folder = opendir("/sys/block");
    bool found = false;
    if (!folder)
        return -errno;
    for (struct dirent *entry; !found && (entry = readdir(folder));) {
        char path[300], serial[64];
        (void)snprintf(path, sizeof(path), "/sys/block/%s/serial", entry->d_name);
        if (strncmp(entry->d_name, "vd", 2) != 0 || read_text(path, serial, sizeof(serial)) < 0)
            continue;
        found = strcmp(serial, wanted) == 0;
        if (found)
            copy_text(name, room, entry->d_name);
    }
    (void)closedir(folder);
    return found ? 0 : -ENOENT;
}

/* In the order of the bus, so that they are called what they were called before. A disk is a device
 * of the type 2 (virtio 1.2, section 5). */
static void write_for_each(const char *file) {
    for (unsigned i = 0; i < VIRTIO_DEVICES_MAX; i++) {
        char path[64], type[16], name[16];
        (void)snprintf(name, sizeof(name), "virtio%u", i);
        (void)snprintf(path, sizeof(path), "/sys/bus/virtio/devices/%s/device", name);
        if (read_text(path, type, sizeof(type)) >= 0 && strtoul(type, NULL, 16) == 2 &&
            write_text(file, name, 0200) < 0)
            agent_log("cannot write %s to %s", name, file);
    }
}

void block_let_go(void) {
    write_for_each("/sys/bus/virtio/drivers/virtio_blk/unbind");
}

void block_take_up(void) {
    write_for_each("/sys/bus/virtio/drivers/virtio_blk/bind");
}

/* Scheduling requests and holding back writers is for the host, which has the disk. In each clone
 * the kernel's own would run again, and under emulation be translated again. */
void block_leave_scheduling_to_host(const char *disk) {
    char path[300];
    (void)snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler", disk);
    (void)write_text(path, "none", 0644);
    (void)snprintf(path, sizeof(path), "/sys/block/%s/queue/wbt_lat_usec", disk);
    (void)write_text(path, "0", 0644);
}

/* What the guest deletes goes back to the host: an overlay shrinks again. All three kinds know the
 * option; where the disk cannot discard, it is ignored. What ext4 does in the background after a
 * mount, each clone would do again, and write to its overlay: an ext4 that was made lazily is not
 * completed, and its maps of free blocks are read when somebody writes. */
static int mount_ext4(const char *device, const char *folder, unsigned long flags) {
    static const char *const options[] = {
        "discard,noinit_itable,no_prefetch_block_bitmaps",
        "discard,noinit_itable", /* what an older kernel knows */
    };
    if (mount(device, folder, "ext4", flags, options[0]) == 0)
        return 0;
    if (errno == EINVAL && mount(device, folder, "ext4", flags, options[1]) == 0)
        return 0;
    /* one that was not unmounted, on a disk that nobody may write to */
    return flags & MS_RDONLY ? mount(device, folder, "ext4", flags, "noload") : -1;
}

int block_mount(const char *device, const char *type, const char *folder, bool read_only) {
    unsigned long flags = read_only ? MS_RDONLY : 0;
    if (strcmp(type, "ext4") == 0)
        return mount_ext4(device, folder, flags);
    return mount(device, folder, type, flags, read_only ? NULL : "discard");
}
