/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds, volumes and config disks. The host names each with a word of the kernel's command line,
 *
 *     ramet.mount=seed-1,rw,/root
 *
 * so that they are there before the image's own init. A seed is a small file system on a disk that
 * may be much larger; it grows while it is mounted, which costs about the same for any size, since
 * what is new of it is neither written nor read (noinit_itable in block.c). */

#include "agent/disk/disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/uevent.h"
#include "agent/disk/block.h"
#include "agent/disk/fs_resize.h"

#define WORD "ramet.mount="
#define CHANGE_LIMIT_USEC (120u * 1000000u)
#define DRIVER "/sys/bus/virtio/drivers/virtio_blk"

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode_path(const char *text, char *path, size_t room) {
    size_t n = 0;
    for (; *text; text++, n++) {
        if (n + 1 >= room)
            return -EINVAL;
        path[n] = *text;
        if (*text != '%')
            continue;
        int high = hex_value(text[1]), low = high < 0 ? -1 : hex_value(text[2]);
        if (low < 0 || high * 16 + low == 0)
            return -EINVAL;
        path[n] = (char)(high * 16 + low);
        text += 2;
    }
    path[n] = '\0';
    return path[0] == '/' ? 0 : -EINVAL;
}

int disk_word_parse(const char *value, DiskWord *word) {
    const char *comma = strchr(value, ',');
    size_t length = comma ? (size_t)(comma - value) : 0;
    if (length == 0 || length >= sizeof(word->serial))
        return -EINVAL;
    (void)snprintf(word->serial, sizeof(word->serial), "%.*s", (int)length, value);
    if (strncmp(comma, ",rw,", 4) != 0 && strncmp(comma, ",ro,", 4) != 0)
        return -EINVAL;
    word->read_only = comma[2] == 'o';
    return decode_path(comma + 4, word->path, sizeof(word->path));
}

static int await_device(const DiskWord *word, int uevent_fd, uint64_t deadline_usec, char *device,
                        size_t room) {
    char disk[64];
    for (;;) {
        if (block_find_serial(word->serial, disk, sizeof(disk)) == 0) {
            (void)snprintf(device, room, "/dev/%s", disk);
            if (access(device, F_OK) == 0)
                break;
        }
        if (now_usec() >= deadline_usec)
            return -ENODEV;
        uevent_wait(uevent_fd, deadline_usec);
    }
    block_leave_scheduling_to_host(disk);
    return 0;
}

static int grow(const DiskWord *word, Result *result) {
    if (word->read_only || !fs_resize_is_needed(word->path))
        return 0;
    return fs_resize(word->path, result);
}

static int mount_one(const DiskWord *word, int uevent_fd, uint64_t deadline_usec, Result *result) {
    char device[80];
    int r = await_device(word, uevent_fd, deadline_usec, device, sizeof(device));
    if (r < 0)
        return result_say(result, -r, "cannot mount %s: no disk with the serial %s appeared",
                          word->path, word->serial);
    const char *type = block_probe_type(device);
    if (!type) /* somebody in the guest may know what to do with it */
        return 0;
    r = make_folders(word->path, 0755);
    if (r < 0)
        return result_fail(result, -r, "cannot make %s to mount %s there", word->path,
                           word->serial);
    if (block_mount(device, type, word->path, word->read_only) < 0)
        return result_fail(result, errno, "cannot mount %s (%s) at %s", word->serial, type,
                           word->path);
    return grow(word, result);
}

int disks_mount(int uevent_fd, uint64_t deadline_usec, Result *result) {
    char line[4096], *rest = line;
    if (read_text("/proc/cmdline", line, sizeof(line)) < 0)
        return 0;
    for (char *word; (word = strsep(&rest, " "));) {
        DiskWord disk;
        if (strncmp(word, WORD, strlen(WORD)) != 0)
            continue;
        if (disk_word_parse(word + strlen(WORD), &disk) < 0)
            return result_say(result, EINVAL, "the host's word %.100s cannot be read", word);
        int r = mount_one(&disk, uevent_fd, deadline_usec, result);
        if (r < 0)
            return r;
    }
    return 0;
}

int disks_mount_word(const char *value, Result *result) {
    _cleanup_close_ int uevents = uevent_open();
    DiskWord word;
    if (disk_word_parse(value, &word) < 0)
        return result_say(result, EINVAL, "the host's word %.100s cannot be read", value);
    return mount_one(&word, uevents, now_usec() + CHANGE_LIMIT_USEC, result);
}

/* ---- another disk ---- */

/* The name of a disk's device on the virtio bus. */
static int find_virtio(const char *disk, char *name, size_t room) {
    char path[128], target[256];
    (void)snprintf(path, sizeof(path), "/sys/block/%s/device", disk);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    copy_text(name, room, slash ? slash + 1 : target);
    return 0;
}

/* The kernel remembers how large the disk was, and what it has read of it. A driver that finds the
 * device anew does neither. Whoever still has a file of the old disk open reads no more of it. */
static int forget_disk(const DiskWord *word, Result *result) {
    char disk[64], device[64];
    int r = block_find_serial(word->serial, disk, sizeof(disk));
    if (r < 0)
        return result_say(result, -r, "there is no disk with the serial %s", word->serial);
    r = find_virtio(disk, device, sizeof(device));
    if (r == 0)
        r = write_text(DRIVER "/unbind", device, 0200);
    if (r == 0)
        r = write_text(DRIVER "/bind", device, 0200);
    return r < 0 ? result_say(result, -r, "cannot look at the disk %s again", word->serial) : 0;
}

int disks_change(const char *value, Result *result) {
    _cleanup_close_ int uevents = uevent_open();
    DiskWord word;
    if (disk_word_parse(value, &word) < 0)
        return result_say(result, EINVAL, "the host's word %.100s cannot be read", value);
    if (umount2(word.path, UMOUNT_NOFOLLOW) < 0)
        (void)umount2(word.path, MNT_DETACH | UMOUNT_NOFOLLOW); /* somebody is in it */
    int r = forget_disk(&word, result);
    return r < 0 ? r : mount_one(&word, uevents, now_usec() + CHANGE_LIMIT_USEC, result);
}
