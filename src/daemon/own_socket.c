/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/own_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

#define NOTE "locks/daemon.socket" /* in the home */

static int watch_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = slash > path ? strndup(path, (size_t)(slash - path)) : NULL;
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0 || !folder ||
        inotify_add_watch(fd, folder, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR) < 0)
        return -1;
    return TAKE_FD(fd);
}

static void note(const char *home, const char *path) {
    _cleanup_free_ char *file = path_join(home, NOTE);
    _cleanup_close_ int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : fd_write_full(fd, path, strlen(path));
    if (r < 0)
        log_warning("cannot write %s: %s", file, strerror(-r));
}

void own_socket_begin(OwnSocket *socket, const char *home, const char *path, bool made) {
    *socket = (OwnSocket){.home = home, .path = path, .watch_fd = -1};
    note(home, path);
    if (made && stat(path, &socket->made) == 0)
        socket->watch_fd = watch_folder_of(path);
}

static bool is_the_same(const OwnSocket *socket) {
    struct stat now;
    return stat(socket->path, &now) == 0 && now.st_dev == socket->made.st_dev &&
           now.st_ino == socket->made.st_ino;
}

bool own_socket_is_there(OwnSocket *socket) {
    char events[4096];
    while (read(socket->watch_fd, events, sizeof(events)) > 0)
        continue;
    return is_the_same(socket);
}

void own_socket_end(OwnSocket *socket) {
    _cleanup_free_ char *file = path_join(socket->home, NOTE);
    socket->watch_fd = fd_close(socket->watch_fd);
    if (!is_the_same(socket))
        return;
    (void)unlink(socket->path);
    (void)unlink(file);
}

char *own_socket_find(const char *home) {
    _cleanup_free_ char *path = path_join(home, NOTE);
    char *text = NULL;
    size_t size;
    return fd_read_file_at(AT_FDCWD, path, PATH_MAX, &text, &size) < 0 ? NULL : text;
}
