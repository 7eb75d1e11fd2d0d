/* SPDX-License-Identifier: Apache-2.0 */
/* The cover is mapped, so that a clone changes its text by writing to memory: any system call that
 * looks up a path takes an emulated guest milliseconds when it is the first after a restore. */

#include "agent/identity/bind_cover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define MAP_BYTES 4096

static void cover_path(const BindCover *file, char *path, size_t room) {
    (void)snprintf(path, room, RUN_FOLDER "/%s", file->name);
}

static bool same_file(const char *one, const char *other) {
    struct stat a, b;
    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int bind_cover_mount(const char *from, const char *path) {
    if (access(path, F_OK) < 0 || same_file(from, path))
        return 0;
    return mount(from, path, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static void release(BindCover *file) {
    if (file->map)
        (void)munmap(file->map, MAP_BYTES);
    close_fd(&file->fd);
    file->map = NULL;
}

static int open_target(const BindCover *file) {
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    /* Only then: O_CREAT waits for the thaw of a frozen file system even when the file is there. */
    if (fd < 0 && errno == ENOENT && file->create)
        fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_CREAT, 0644);
    return fd < 0 ? -errno : fd;
}

static int cover(const BindCover *file, const char *text) {
    char own[256];
    int r = make_folders(RUN_FOLDER, 0755);
    cover_path(file, own, sizeof(own));
    if (r == 0)
        r = write_text(own, text, file->mode);
    if (r < 0 || same_file(file->path, own))
        return r;
    int fd = open_target(file);
    if (fd < 0)
        return fd == -ENOENT && !file->create ? 0 : fd;
    (void)close(fd);
    return mount(own, file->path, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static bool is_covered(const BindCover *file, const char *own) {
    char text[BIND_COVER_MAX], line[BIND_COVER_MAX + 1];
    if (same_file(file->path, own))
        return true;
    if (read_text(file->path, text, sizeof(text)) <= 0)
        return false;
    (void)snprintf(line, sizeof(line), "%s\n", text);
    return cover(file, line) == 0 && same_file(file->path, own);
}

void bind_cover_prepare(BindCover *file) {
    char own[256];
    struct stat info;
    release(file);
    cover_path(file, own, sizeof(own));
    if (!is_covered(file, own))
        return;
    file->fd = open(own, O_RDWR | O_CLOEXEC);
    if (file->fd < 0 || fstat(file->fd, &info) < 0 || info.st_size > BIND_COVER_MAX) {
        release(file);
        return;
    }
    void *map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (map == MAP_FAILED || info.st_size == 0) {
        close_fd(&file->fd);
        return;
    }
    file->map = map;
    file->size = (size_t)info.st_size;
    *(volatile char *)file->map = *file->map; /* a page that was written to faults no more */
}

int bind_cover_set(BindCover *file, const char *text) {
    size_t size = strlen(text);
    if (size > BIND_COVER_MAX)
        return -E2BIG;
    if (!file->map || size == 0)
        return cover(file, text);
    if (size != file->size && ftruncate(file->fd, (off_t)size) < 0)
        return -errno;
    memcpy(file->map, text, size);
    file->size = size;
    return 0;
}
