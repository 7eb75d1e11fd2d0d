/* SPDX-License-Identifier: Apache-2.0 */
/* Archives name the files of one folder one after the other, so the last parent is kept open. */

#include "agent/files/path_beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void path_beneath_close(PathBeneath *beneath) {
    close_fd(&beneath->parent_fd);
    close_fd(&beneath->base_fd);
}

static int open_below(int parent, const char *name, bool create) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(parent, name, flags);
    if (fd < 0 && errno == ENOENT && create) {
        if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
            return -errno;
        fd = openat(parent, name, flags);
    }
    return fd < 0 ? -errno : fd;
}

/* Opens `path`; "" is the base itself. */
static int walk(int base_fd, const char *path, bool create) {
    int fd = fcntl(base_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -errno;
    while (*path) {
        char name[NAME_MAX + 1];
        size_t length = strcspn(path, "/");
        int next = -ENAMETOOLONG;
        if (length <= NAME_MAX) {
            memcpy(name, path, length);
            name[length] = '\0';
            next = open_below(fd, name, create);
        }
        (void)close(fd);
        if (next < 0)
            return next;
        fd = next;
        path += length;
        path += *path == '/';
    }
    return fd;
}

int path_beneath_open_folder(PathBeneath *beneath, const char *name) {
    return walk(beneath->base_fd, name, false);
}

int path_beneath_parent(PathBeneath *beneath, const char *name, bool create, const char **last) {
    const char *slash = strrchr(name, '/');
    size_t length = slash ? (size_t)(slash - name) : 0;
    char parent[PATH_MAX];
    if (length >= sizeof(parent))
        return -ENAMETOOLONG;
    memcpy(parent, name, length);
    parent[length] = '\0';
    if (beneath->parent_fd < 0 || strcmp(parent, beneath->parent) != 0) {
        int fd = walk(beneath->base_fd, parent, create);
        if (fd < 0)
            return fd;
        close_fd(&beneath->parent_fd);
        beneath->parent_fd = fd;
        strcpy(beneath->parent, parent);
    }
    *last = slash ? slash + 1 : name;
    return beneath->parent_fd;
}

void path_beneath_remove(int parent, const char *name) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        close_fd(&fd);
        return;
    }
    (void)fchmod(fd, 0700);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            path_beneath_remove(fd, entry->d_name);
    (void)closedir(folder);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}
