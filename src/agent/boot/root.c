/* SPDX-License-Identifier: Apache-2.0 */
/* The kind of file system is read from its superblock instead of trying one mount after the other:
 * that is quicker, and says clearly when there is none. */

#include "agent/boot/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/base/uevent.h"

/* Where each keeps its magic: Documentation/filesystems/ext4/super.rst (ext4 at 1024 + 0x38), the
 * btrfs on-disk format (65536 + 0x40), xfs_format.h (0). */
static const struct {
    const char *type;
    off_t offset;
    const char *magic;
    size_t size;
} known_types[] = {
    {"ext4", 1024 + 0x38, "\x53\xef", 2},
    {"btrfs", 65536 + 0x40, "_BHRfS_M", 8},
    {"xfs", 0, "XFSB", 4},
};

static const char *probe_type(const char *device) {
    _cleanup_close_ int fd = open(device, O_RDONLY | O_CLOEXEC);
    char found[8];
    for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(known_types); i++)
        if (pread(fd, found, known_types[i].size, known_types[i].offset) ==
                (ssize_t)known_types[i].size &&
            memcmp(found, known_types[i].magic, known_types[i].size) == 0)
            return known_types[i].type;
    return NULL;
}

/* "vda" for the disk with the serial "root"; vda itself when no disk has a serial. */
static int find_disk(char *name, size_t room) {
    DIR *folder = opendir("/sys/block");
    bool found = false;
    if (!folder)
        return -errno;
    for (struct dirent *entry; !found && (entry = readdir(folder));) {
        char path[300], serial[64];
        (void)snprintf(path, sizeof(path), "/sys/block/%s/serial", entry->d_name);
        if (strncmp(entry->d_name, "vd", 2) != 0 || read_text(path, serial, sizeof(serial)) < 0)
            continue;
        found = strcmp(serial, "root") == 0;
        if (found)
            copy_text(name, room, entry->d_name);
    }
    (void)closedir(folder);
    if (!found && read_text("/sys/block/vda/serial", name, room) == 0) {
        (void)snprintf(name, room, "vda");
        found = true;
    }
    return found ? 0 : -ENOENT;
}

/* The largest partition that holds a file system; 0 or -ENOENT. */
static int find_partition(const char *disk, char *device, size_t room) {
    char path[600], text[32];
    uint64_t largest = 0;
    (void)snprintf(path, sizeof(path), "/sys/block/%s", disk);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, disk, strlen(disk)) != 0)
            continue;
        (void)snprintf(path, sizeof(path), "/sys/block/%s/%s/size", disk, entry->d_name);
        if (read_text(path, text, sizeof(text)) < 0)
            continue;
        uint64_t sectors = strtoull(text, NULL, 10);
        (void)snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        if (sectors <= largest || !probe_type(path))
            continue;
        largest = sectors;
        copy_text(device, room, path);
    }
    if (folder)
        (void)closedir(folder);
    return largest > 0 ? 0 : -ENOENT;
}

/* Scheduling requests and holding back writers is for the host, which has the disk. In each clone
 * the kernel's own would run again, and under emulation be translated again. */
static void leave_scheduling_to_host(const char *disk) {
    char path[300];
    (void)snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler", disk);
    (void)write_text(path, "none", 0644);
    (void)snprintf(path, sizeof(path), "/sys/block/%s/queue/wbt_lat_usec", disk);
    (void)write_text(path, "0", 0644);
}

static int find_device(char *device, size_t room) {
    char disk[64];
    if (cmdline_value("ramet.root=", device, room) == 0)
        return access(device, F_OK) < 0 ? -errno : 0;
    int r = find_disk(disk, sizeof(disk));
    if (r < 0)
        return r;
    (void)snprintf(device, room, "/dev/%s", disk);
    if (access(device, F_OK) < 0)
        return -errno;
    leave_scheduling_to_host(disk);
    if (!probe_type(device))
        (void)find_partition(disk, device, room);
    return 0;
}

/* What the guest deletes goes back to the host: an overlay shrinks again. All three kinds know the
 * option; where the disk cannot discard, it is ignored. What ext4 does in the background after a
 * mount, each clone would do again, and write to its overlay: an ext4 that was made lazily is not
 * completed, and its maps of free blocks are read when somebody writes. */
static int mount_root(const char *device, const char *type) {
    static const char *const ext4[] = {
        "discard,noinit_itable,no_prefetch_block_bitmaps",
        "discard,noinit_itable", /* what an older kernel knows */
    };
    if (strcmp(type, "ext4") != 0)
        return mount(device, ROOT_FOLDER, type, 0, "discard");
    if (mount(device, ROOT_FOLDER, type, 0, ext4[0]) == 0)
        return 0;
    return errno == EINVAL ? mount(device, ROOT_FOLDER, type, 0, ext4[1]) : -1;
}

int root_mount(int uevent_fd, uint64_t deadline_usec, Result *result) {
    char device[128];
    int r;
    while ((r = find_device(device, sizeof(device))) < 0) {
        if (now_usec() >= deadline_usec)
            return result_say(result, -r,
                              "cannot mount root: no disk with the serial \"root\" appeared");
        uevent_wait(uevent_fd, deadline_usec);
    }
    const char *type = probe_type(device);
    if (!type)
        return result_say(result, EINVAL,
                          "cannot mount root: %s holds no file system that this kernel knows",
                          device);
    (void)mkdir(ROOT_FOLDER, 0755);
    if (mount_root(device, type) == 0)
        return 0;
    if (errno == ENODEV)
        return result_say(result, ENODEV,
                          "cannot mount root: %s holds %s, which this kernel does not know", device,
                          type);
    return result_fail(result, errno, "cannot mount root: %s (%s)", device, type);
}

/* Deletes everything of the initramfs, which frees its memory. Never leaves its file system: the
 * new root is another one. */
static void empty_folder(int folder_fd, dev_t device) {
    DIR *folder = fdopendir(folder_fd);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat found;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) < 0 ||
            found.st_dev != device)
            continue;
        if (S_ISDIR(found.st_mode)) {
            int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd >= 0)
                empty_folder(fd, device);
        }
        (void)unlinkat(dirfd(folder), entry->d_name, S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0);
    }
    if (folder)
        (void)closedir(folder);
    else
        (void)close(folder_fd);
}

int root_switch(Result *result) {
    static const char *const moved[] = {"/dev", "/proc", "/sys"};
    struct stat old;
    int old_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), ROOT_FOLDER "%s", moved[i]);
        (void)mkdir(path, 0755);
        if (mount(moved[i], path, NULL, MS_MOVE, NULL) < 0)
            return result_fail(result, errno, "cannot move %s to the root disk", moved[i]);
    }
    if (old_fd < 0 || fstat(old_fd, &old) < 0)
        return result_fail(result, errno, "cannot open the initramfs");
    if (chdir(ROOT_FOLDER) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        return result_fail(result, errno, "cannot switch to the root disk");
    empty_folder(old_fd, old.st_dev);
    return 0;
}
