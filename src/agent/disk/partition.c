/* SPDX-License-Identifier: Apache-2.0 */
/* The table is written with O_DIRECT (partition_table.c says why), and then the kernel is told of
 * the partition's new size; it would not read the table again while a partition is in use. */

#include "agent/disk/partition.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "agent/disk/partition_table.h"

/* What is less than this many sectors was left for the sake of alignment. */
#define ROOM_MIN 8192u

/* A number in sysfs, in the folder of a block device. */
static int read_number(dev_t device, const char *name, uint64_t *value) {
    char path[400], text[32], *end;
    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(device), minor(device),
                   name);
    ssize_t n = read_text(path, text, sizeof(text));
    if (n < 0)
        return (int)n;
    *value = strtoull(text, &end, 10);
    return end == text ? -EBADMSG : 0;
}

int device_sectors(dev_t device, uint64_t *sectors) {
    return read_number(device, "size", sectors);
}

static int named_path(dev_t device, const char *file, char *path, size_t room) {
    char uevent[128], text[512];
    (void)snprintf(uevent, sizeof(uevent), "/sys/dev/block/%u:%u/%s", major(device), minor(device),
                   file);
    ssize_t n = read_text(uevent, text, sizeof(text));
    if (n < 0)
        return (int)n;
    char *name = strstr(text, "DEVNAME=");
    if (!name)
        return -ENODEV;
    name += 8;
    name[strcspn(name, "\n")] = '\0';
    (void)snprintf(path, room, "/dev/%.50s", name);
    return 0;
}

int device_path(dev_t device, char *path, size_t room) {
    return named_path(device, "uevent", path, room);
}

/* Where the last partition of the disk ends. */
static uint64_t last_end(dev_t device) {
    char path[64], name[300];
    uint64_t end = 0, start, size, number;
    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/..", major(device), minor(device));
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        (void)snprintf(name, sizeof(name), "../%s/partition", entry->d_name);
        if (entry->d_name[0] == '.' || read_number(device, name, &number) < 0)
            continue;
        (void)snprintf(name, sizeof(name), "../%s/start", entry->d_name);
        if (read_number(device, name, &start) < 0)
            continue;
        (void)snprintf(name, sizeof(name), "../%s/size", entry->d_name);
        if (read_number(device, name, &size) == 0 && start + size > end)
            end = start + size;
    }
    if (folder)
        (void)closedir(folder);
    return end;
}

bool partition_has_room(dev_t device) {
    uint64_t number, disk;
    if (read_number(device, "partition", &number) < 0 || read_number(device, "../size", &disk) < 0)
        return false;
    uint64_t end = last_end(device);
    return end < disk && disk - end >= ROOM_MIN;
}

static int tell_kernel(int fd, unsigned number, uint64_t start, uint64_t size) {
    struct blkpg_partition partition = {.start = (long long)(start * SECTOR_BYTES),
                                        .length = (long long)(size * SECTOR_BYTES),
                                        .pno = (int)number};
    struct blkpg_ioctl_arg arguments = {
        .op = BLKPG_RESIZE_PARTITION, .datalen = sizeof(partition), .data = &partition};
    return ioctl(fd, BLKPG, &arguments) < 0 ? -errno : 0;
}

static int extend_on(int fd, const char *disk, dev_t device, Result *result) {
    uint64_t number, start, sectors, had, size = 0;
    int block_bytes = 0, r;
    if (read_number(device, "partition", &number) < 0 || number > 4096 ||
        read_number(device, "start", &start) < 0 || read_number(device, "../size", &sectors) < 0 ||
        device_sectors(device, &had) < 0)
        return result_say(result, ENODEV, "the kernel does not tell where the partition is");
    if (ioctl(fd, BLKSSZGET, &block_bytes) < 0 || block_bytes != (int)SECTOR_BYTES)
        return result_say(result, ENOTSUP, "%s has no sectors of 512 bytes", disk);
    r = partition_table_extend(fd, sectors, (unsigned)number, start, &size, result);
    if (r < 0 || size <= had)
        return r;
    r = tell_kernel(fd, (unsigned)number, start, size);
    return r < 0 ? result_fail(result, -r, "cannot tell the kernel of the partition's size") : 0;
}

int partition_extend(dev_t device, Result *result) {
    char disk[128];
    int r = named_path(device, "../uevent", disk, sizeof(disk));
    if (r < 0)
        return result_fail(result, -r, "cannot find the partition's disk");
    _cleanup_close_ int fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? result_fail(result, errno, "%s", disk) : extend_on(fd, disk, device, result);
}
