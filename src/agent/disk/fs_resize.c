/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/fs_resize.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/disk/partition.h"

/* fs/ext4/ext4.h: the new size in blocks of the file system */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define STEP_BYTES ((uint64_t)1 << 40)

static uint64_t get_le32(const uint8_t *p) {
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

/* What the superblock (at 1024; Documentation/filesystems/ext4/super.rst) tells: how many blocks
 * there are, s_blocks_count_lo at 0x04 and s_blocks_count_hi at 0x150, since statfs tells only what
 * is left for files; and how many there can be: INCOMPAT_64BIT is 0x80 in s_feature_incompat at
 * 0x60, and inodes, s_inodes_per_group at 0x28, have numbers of 32 bits, in groups of
 * s_blocks_per_group at 0x20. */
typedef struct Ext4 {
    uint64_t blocks, most;
} Ext4;

static int ext4_read(dev_t device, Ext4 *ext4) {
    uint8_t super[0x154];
    char path[64];
    if (device_path(device, path, sizeof(path)) < 0)
        return -ENODEV;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || pread(fd, super, sizeof(super), 1024) != (ssize_t)sizeof(super))
        return -EIO;
    uint64_t inodes = get_le32(super + 0x28);
    ext4->blocks = get_le32(super + 0x04) | get_le32(super + 0x150) << 32;
    ext4->most = get_le32(super + 0x60) & 0x80 ? (uint64_t)1 << 48 : UINT32_MAX;
    if (inodes > 0)
        ext4->most = MIN_OF(ext4->most, UINT32_MAX / inodes * get_le32(super + 0x20));
    return ext4->blocks > 0 ? 0 : -EIO;
}

/* The kernel takes some seconds for a TiB under software emulation: whoever waits hears, on the
 * console, that it goes on. */
static int grow_ext4(int fd, const char *path, uint64_t now, uint64_t blocks, uint64_t step,
                     Result *result) {
    while (now < blocks) {
        now = MIN_OF((now / step + 1) * step, blocks);
        if (ioctl(fd, EXT4_IOC_RESIZE_FS, &now) < 0)
            return result_fail(result, errno, "cannot grow the ext4 file system at %s", path);
        if (now < blocks)
            agent_log("growing %s: %llu of %llu TiB", path, (unsigned long long)(now / step),
                      (unsigned long long)((blocks + step - 1) / step));
    }
    return 0;
}

static int resize_ext4(int fd, const char *path, dev_t device, uint64_t block_bytes,
                       Result *result) {
    uint64_t sectors = 0;
    Ext4 ext4;
    int r = device_sectors(device, &sectors);
    if (r < 0)
        return result_fail(result, -r, "cannot find the size of the device of %s", path);
    uint64_t blocks = sectors * 512 / block_bytes;
    if (ext4_read(device, &ext4) < 0)
        ext4 = (Ext4){.blocks = blocks - 1, .most = blocks}; /* in one step, then */
    if (blocks > ext4.most)
        return result_say(result, EFBIG, "the ext4 file system at %s can have at most %llu GiB",
                          path, (unsigned long long)(ext4.most * block_bytes >> 30));
    return grow_ext4(fd, path, ext4.blocks, blocks, STEP_BYTES / block_bytes, result);
}

bool fs_resize_is_needed(const char *path) {
    struct stat folder;
    struct statfs fs;
    uint64_t sectors;
    Ext4 ext4;
    if (stat(path, &folder) < 0 || statfs(path, &fs) < 0 ||
        (unsigned long)fs.f_type != EXT4_SUPER_MAGIC || fs.f_bsize <= 0 ||
        device_sectors(folder.st_dev, &sectors) < 0)
        return true;
    return ext4_read(folder.st_dev, &ext4) < 0 ||
           sectors * 512 / (uint64_t)fs.f_bsize > ext4.blocks || partition_has_room(folder.st_dev);
}

static int resize_btrfs(int fd, const char *path, Result *result) {
    struct btrfs_ioctl_vol_args arguments = {.name = "max"};
    if (ioctl(fd, BTRFS_IOC_RESIZE, &arguments) < 0)
        return result_fail(result, errno, "cannot grow the btrfs file system at %s", path);
    return 0;
}

/* A partition that cannot grow is no failure: the system is as it was. But it is told. */
static void extend_partition(dev_t device, Result *result) {
    Result why = {0};
    if (partition_has_room(device) && partition_extend(device, &why) < 0)
        result_note(result, "the root's partition did not grow with the disk: %.200s", why.text);
}

int fs_resize(const char *path, Result *result) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat folder;
    struct statfs fs;
    if (fd < 0 || fstat(fd, &folder) < 0 || fstatfs(fd, &fs) < 0)
        return result_fail(result, errno, "%s", path);
    extend_partition(folder.st_dev, result);
    if ((unsigned long)fs.f_type == EXT4_SUPER_MAGIC)
        return resize_ext4(fd, path, folder.st_dev, (uint64_t)fs.f_bsize, result);
    if ((unsigned long)fs.f_type == BTRFS_SUPER_MAGIC)
        return resize_btrfs(fd, path, result);
    return result_fail(result, EOPNOTSUPP, "cannot grow %s: it is neither ext4 nor btrfs", path);
}

void fs_resize_worker(void *path, int in, int out, Result *result) {
    (void)fs_resize(path, result);
}
