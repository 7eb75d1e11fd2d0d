/* SPDX-License-Identifier: Apache-2.0 */

#include "usage/usage_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

#define DEPTH_MAX 64

void seen_files_free(SeenFiles *seen) {
    free(seen->files);
    *seen = (SeenFiles){0};
}

/* Was this one counted before? */
static bool was_seen(SeenFiles *seen, const struct stat *info) {
    if (!seen || info->st_nlink < 2)
        return false;
    for (size_t i = 0; i < seen->count; i++)
        if (seen->files[i].device == info->st_dev && seen->files[i].inode == info->st_ino)
            return true;
    seen->files = reallocarray(seen->files, seen->count + 1, sizeof(*seen->files));
    if (!seen->files)
        abort();
    seen->files[seen->count].device = info->st_dev;
    seen->files[seen->count++].inode = info->st_ino;
    return false;
}

static DIR *open_folder(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder)
        (void)fd_close(fd);
    return folder;
}

static uint64_t count(int dir_fd, const char *name, SeenFiles *seen, unsigned depth) {
    struct dirent *entry;
    struct stat info;
    uint64_t sum;
    DIR *folder;
    if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    sum = (uint64_t)info.st_blocks * 512;
    if (!S_ISDIR(info.st_mode))
        return was_seen(seen, &info) ? 0 : sum;
    folder = depth < DEPTH_MAX ? open_folder(dir_fd, name) : NULL;
    if (!folder)
        return sum;
    while ((entry = readdir(folder)))
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            sum += count(dirfd(folder), entry->d_name, seen, depth + 1);
    (void)closedir(folder);
    return sum;
}

uint64_t usage_disk_bytes(int dir_fd, const char *name, SeenFiles *seen) {
    return count(dir_fd, name, seen, 0);
}

/* ---- scratch ---- */

/* "PREFIX-PID-TID-RANDOM" (scratch_name): is it of a thread of ours that is gone? All that other
 * daemons left was removed at the start. */
static bool is_abandoned(const char *name) {
    _cleanup_free_ char *text = str_copy(name), *path = NULL;
    uint64_t numbers[2] = {0};
    char *dash = strrchr(text, '-');
    for (int i = 1; i >= 0; i--) {
        if (!dash)
            return false;
        *dash = '\0';
        dash = strrchr(text, '-');
        if (!dash || parse_u64(dash + 1, INT32_MAX, &numbers[i]) < 0)
            return false;
    }
    if (numbers[0] != (uint64_t)getpid())
        return true;
    path = str_format("/proc/self/task/%llu", (unsigned long long)numbers[1]);
    return access(path, F_OK) < 0;
}

static void add_scratch(Usage *usage, int folder_fd, const char *name) {
    UsageItem *item = usage_add(usage, USAGE_SCRATCH, name, name);
    struct stat info;
    item->bytes = usage_disk_bytes(folder_fd, name, NULL);
    if (fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0)
        item->at_usec = (uint64_t)info.st_mtim.tv_sec * USEC_PER_SEC;
    if (!is_abandoned(name) || strlen(name) >= sizeof(item->id))
        item->held = "it is being worked on";
}

void usage_add_scratch(Usage *usage, int home_fd) {
    DIR *folder = open_folder(home_fd, "tmp");
    struct dirent *entry;
    if (!folder)
        return;
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            add_scratch(usage, dirfd(folder), entry->d_name);
    (void)closedir(folder);
}

/* ---- what registries gave ---- */

#define FETCHED "oci/sha256"

/* The folder, locked against who pulls; -EWOULDBLOCK: somebody does. The descriptor is the
 * caller's. */
static int lock_fetched(int home_fd) {
    _cleanup_close_ int fd =
        openat(home_fd, FETCHED, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : TAKE_FD(fd);
}

static void add_fetched(Usage *usage, int folder_fd, const char *name, bool busy) {
    UsageItem *item = usage_add(usage, USAGE_FETCHED, name, "");
    struct stat info;
    (void)snprintf(item->label, sizeof(item->label), "sha256:%.12s", name);
    item->bytes = usage_disk_bytes(folder_fd, name, NULL);
    if (fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0)
        item->at_usec = (uint64_t)info.st_mtim.tv_sec * USEC_PER_SEC;
    item->named = item->can_be_made = true;
    if (busy)
        item->held = "an image is being pulled";
}

void usage_add_fetched(Usage *usage, int home_fd) {
    _cleanup_close_ int lock = lock_fetched(home_fd);
    DIR *folder = open_folder(home_fd, FETCHED);
    struct dirent *entry;
    if (!folder)
        return;
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            add_fetched(usage, dirfd(folder), entry->d_name, lock < 0);
    (void)closedir(folder);
}

int usage_remove_fetched(int home_fd, const char *name, Error *error) {
    _cleanup_close_ int lock = lock_fetched(home_fd);
    if (lock == -EWOULDBLOCK)
        return error_set(error, ERROR_CONFLICT, EBUSY, "an image is being pulled");
    if (lock < 0 || unlinkat(lock, name, 0) < 0)
        return error_set_errno(error, errno, "cannot remove " FETCHED "/%s", name);
    return 1;
}
