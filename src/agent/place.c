/* SPDX-License-Identifier: Apache-2.0 */
/* Archives name the files of one folder one after the other, so the last parent is kept open. */

#include "agent/place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void place_close(Place *place) {
    close_fd(&place->parent_fd);
    close_fd(&place->base_fd);
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

int place_open_folder(Place *place, const char *name) {
    return walk(place->base_fd, name, false);
}

int place_parent(Place *place, const char *name, bool create, const char **last) {
    const char *slash = strrchr(name, '/');
    size_t length = slash ? (size_t)(slash - name) : 0;
    char parent[PATH_MAX];

    if (length >= sizeof(parent))
        return -ENAMETOOLONG;
    memcpy(parent, name, length);
    parent[length] = '\0';
    if (place->parent_fd < 0 || strcmp(parent, place->parent) != 0) {
        int fd = walk(place->base_fd, parent, create);

        if (fd < 0)
            return fd;
        close_fd(&place->parent_fd);
        place->parent_fd = fd;
        strcpy(place->parent, parent);
    }
    *last = slash ? slash + 1 : name;
    return place->parent_fd;
}
