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
#include "agent/disk/block.h"

/* "vda" for the disk with the serial "root"; vda itself when no disk has a serial. */
static int find_disk(char *name, size_t room) {
    int r = block_find_serial("root", name, room);
    if (r == -ENOENT && read_text("/sys/block/vda/serial", name, room) == 0) {
        (void)snprintf(name, room, "vda");
        r = 0;
    }
    return r;
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
        if (sectors <= largest || !block_probe_type(path))
            continue;
        largest = sectors;
        copy_text(device, room, path);
    }
    if (folder)
        (void)closedir(folder);
    return largest > 0 ? 0 : -ENOENT;
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
    block_leave_scheduling_to_host(disk);
    if (!block_probe_type(device))
        (void)find_partition(disk, device, room);
    return 0;
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
    const char *type = block_probe_type(device);
    if (!type)
        return result_say(result, EINVAL,
                          "cannot mount root: %s holds no file system that this kernel knows",
                          device);
    (void)mkdir(ROOT_FOLDER, 0755);
    if (block_mount(device, type, ROOT_FOLDER, false) == 0)
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
