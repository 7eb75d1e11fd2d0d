/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listen.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/hot_store.h"

#define BACKLOG 128

gid_t listen_group(void) {
    struct group group, *found = NULL;
    char buffer[16384];
    if (geteuid() != 0)
        return (gid_t)-1;
    if (getgrnam_r(LISTEN_GROUP, &group, buffer, sizeof(buffer), &found) != 0 || !found)
        return (gid_t)-1;
    return group.gr_gid;
}

/* Opens the socket file to the group. Without it the mode of birth, 0600, stays. */
static void share_with_group(const char *path) {
    gid_t gid = listen_group();
    if (gid == (gid_t)-1)
        return;
    if (lchown(path, 0, gid) < 0 || chmod(path, 0660) < 0)
        log_warning("cannot open %s to the group %s: %s", path, LISTEN_GROUP, strerror(errno));
}

bool listen_is_memory(const char *name) {
    return str_has_prefix(name, HOT_STORE_PREFIX);
}

static int adopt_socket(int fd, Passed *passed, Error *error) {
    if (passed->socket_fd >= 0 || sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0)
        return error_set(error, ERROR_USAGE, 0,
                         "systemd must pass exactly one listening unix stream socket");
    passed->socket_fd = fd;
    return 0;
}

int listen_adopt_passed(Passed *passed, Error *error) {
    Passed found = {.socket_fd = -1};
    int r = 0;
    found.count = sd_listen_fds_with_names(1, &found.names);
    if (found.count < 0)
        return error_set_errno(error, -found.count, "cannot take what systemd passed");
    for (int i = 0; r == 0 && i < found.count; i++)
        if (!listen_is_memory(found.names[i]))
            r = adopt_socket(SD_LISTEN_FDS_START + i, &found, error);
    *passed = found;
    return r;
}

static void share_passed(int fd) {
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address) - 1;
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sun_path[0] == '/')
        share_with_group(address.sun_path);
}

static int make_folder_of(const char *path, Error *error) {
    _cleanup_free_ char *folder = str_copy(path);
    char *slash = strrchr(folder, '/');
    int r;
    if (!slash || slash == folder)
        return 0;
    *slash = '\0';
    r = path_make_folders(folder, geteuid() == 0 ? 0755 : 0700);
    return r < 0 ? error_set_errno(error, -r, "cannot make the socket's folder %s", folder) : 0;
}

int listen_open(const char *path, Passed *passed, int *fd, bool *made, Error *error) {
    if (passed->socket_fd >= 0) {
        share_passed(passed->socket_fd);
        *fd = TAKE_FD(passed->socket_fd);
        *made = false;
        return 0;
    }
    int r = make_folder_of(path, error);
    if (r < 0)
        return r;
    r = fd_unix_listen(path, SOCK_STREAM, 0600, BACKLOG);
    if (r < 0)
        return error_set_errno(error, -r, "cannot listen at %s", path);
    share_with_group(path);
    *fd = r;
    *made = true;
    return 0;
}
