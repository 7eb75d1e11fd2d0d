/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/grow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

/* fs/ext4/ext4.h: the new size in blocks of the file system */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/* In units of 512 bytes, as sysfs gives it for every block device. */
static int device_sectors(dev_t device, uint64_t *sectors) {
    char path[64], text[32];

    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/size", major(device), minor(device));
    ssize_t r = read_text(path, text, sizeof(text));

    if (r < 0)
        return (int)r;
    *sectors = strtoull(text, NULL, 10);
    return 0;
}

static uint64_t get_le32(const uint8_t *p) {
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

/* How many blocks the file system has, from its superblock (at 1024: s_blocks_count_lo at 0x04,
 * s_blocks_count_hi at 0x150; Documentation/filesystems/ext4/super.rst); 0: not known. statfs tells
 * only what is left for files. */
static uint64_t ext4_blocks(dev_t device) {
    char path[64], text[512];
    uint8_t super[0x154];

    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/uevent", major(device), minor(device));
    if (read_text(path, text, sizeof(text)) < 0)
        return 0;
    char *name = strstr(text, "DEVNAME=");

    if (!name)
        return 0;
    name += 8;
    name[strcspn(name, "\n")] = '\0';
    (void)snprintf(path, sizeof(path), "/dev/%.50s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 || pread(fd, super, sizeof(super), 1024) != (ssize_t)sizeof(super))
        return 0;
    return get_le32(super + 0x04) | get_le32(super + 0x150) << 32;
}

static int grow_ext4(int fd, const char *path, dev_t device, uint64_t block_bytes, Result *result) {
    uint64_t sectors = 0;
    int r = device_sectors(device, &sectors);

    if (r < 0)
        return result_fail(result, -r, "cannot find the size of the device of %s", path);
    uint64_t blocks = sectors * 512 / block_bytes;

    if (ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
        return result_fail(result, errno, "cannot grow the ext4 file system at %s", path);
    return 0;
}

bool grow_is_needed(const char *path) {
    struct stat folder;
    struct statfs fs;
    uint64_t sectors, blocks;

    if (stat(path, &folder) < 0 || statfs(path, &fs) < 0 ||
        (unsigned long)fs.f_type != EXT4_SUPER_MAGIC || fs.f_bsize <= 0 ||
        device_sectors(folder.st_dev, &sectors) < 0)
        return true;
    blocks = ext4_blocks(folder.st_dev);
    return blocks == 0 || sectors * 512 / (uint64_t)fs.f_bsize > blocks;
}

static int grow_btrfs(int fd, const char *path, Result *result) {
    struct btrfs_ioctl_vol_args arguments = {.name = "max"};

    if (ioctl(fd, BTRFS_IOC_RESIZE, &arguments) < 0)
        return result_fail(result, errno, "cannot grow the btrfs file system at %s", path);
    return 0;
}

int grow_file_system(const char *path, Result *result) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat folder;
    struct statfs fs;

    if (fd < 0 || fstat(fd, &folder) < 0 || fstatfs(fd, &fs) < 0)
        return result_fail(result, errno, "%s", path);
    if ((unsigned long)fs.f_type == EXT4_SUPER_MAGIC)
        return grow_ext4(fd, path, folder.st_dev, (uint64_t)fs.f_bsize, result);
    if ((unsigned long)fs.f_type == BTRFS_SUPER_MAGIC)
        return grow_btrfs(fd, path, result);
    return result_fail(result, EOPNOTSUPP, "cannot grow %s: it is neither ext4 nor btrfs", path);
}

void grow_worker(void *path, int in, int out, Result *result) {
    (void)grow_file_system(path, result);
}
