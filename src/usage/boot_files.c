/* SPDX-License-Identifier: Apache-2.0 */
#include "usage/boot_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/publish.h"
#include "usage/usage_disk.h"

#define IN_USE_USEC (3600 * USEC_PER_SEC)
#define CPIO ".cpio"

static const char *folder_of(UsageKind kind) {
    return kind == USAGE_KERNEL ? "kernels" : "initramfs";
}

/* Rows name an archive without the end of its name, a disk with it (image/nocloud.h). */
static char *file_of(const UsageItem *item) {
    bool cpio = item->kind == USAGE_INITRAMFS && !str_has_suffix(item->id, ".iso");
    return str_format("%s%s", item->id, cpio ? CPIO : "");
}

static int open_folder(int home_fd, UsageKind kind) {
    return openat(home_fd, folder_of(kind), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static uint64_t used_at(int folder_fd, const char *name) {
    struct stat info = {0};
    if (fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return (uint64_t)info.st_mtim.tv_sec * USEC_PER_SEC;
}

static bool is_in_use(uint64_t used_usec) {
    return used_usec + IN_USE_USEC > clock_realtime_usec();
}

static void add_one(Usage *usage, UsageKind kind, int folder_fd, const char *name) {
    _cleanup_free_ char *id = str_has_suffix(name, CPIO)
                                  ? str_format("%.*s", (int)(strlen(name) - strlen(CPIO)), name)
                                  : str_copy(name);
    uint8_t digest[SHA256_SIZE];
    _cleanup_free_ char *hex = str_format("%.64s", id);
    UsageItem *item;
    if (hex_decode(hex, digest, sizeof(digest)) < 0)
        return;
    item = usage_add(usage, kind, id, "");
    (void)snprintf(item->label, sizeof(item->label), "%.12s", id);
    item->bytes = usage_disk_bytes(folder_fd, name, NULL);
    item->at_usec = used_at(folder_fd, name);
    item->named = item->can_be_made = true;
    if (is_in_use(item->at_usec))
        item->held = "it was used within the last hour";
}

static void add_folder(Usage *usage, int home_fd, UsageKind kind) {
    int fd = open_folder(home_fd, kind);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        (void)fd_close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));)
        add_one(usage, kind, fd, entry->d_name);
    (void)closedir(folder);
}

void usage_add_boot_files(Usage *usage, int home_fd) {
    add_folder(usage, home_fd, USAGE_KERNEL);
    add_folder(usage, home_fd, USAGE_INITRAMFS);
}

/* It goes as a whole, by rename. Who touched it before that finds it again. */
int usage_remove_boot_file(int home_fd, const UsageItem *item, Error *error) {
    _cleanup_free_ char *file = file_of(item), *scratch = scratch_name("boot-file");
    _cleanup_close_ int folder = open_folder(home_fd, item->kind);
    _cleanup_close_ int tmp = openat(home_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r;
    if (folder < 0 || tmp < 0 || renameat(folder, file, tmp, scratch) < 0)
        return error_set_errno(error, errno, "cannot remove %s/%s", folder_of(item->kind), file);
    if (is_in_use(used_at(tmp, scratch)) && renameat(tmp, scratch, folder, file) == 0)
        return error_set(error, ERROR_CONFLICT, EBUSY, "it is being used");
    r = path_remove_tree_at(tmp, scratch);
    return r < 0 ? error_set_errno(error, -r, "cannot remove tmp/%s", scratch) : 1;
}
