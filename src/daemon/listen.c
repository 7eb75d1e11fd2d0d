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

/* The one socket that systemd passed, or 0 when it passed none. */
static int listen_from_systemd(int *fd, Error *error) {
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address) - 1;
    int n = sd_listen_fds(1);

    if (n < 0)
        return error_set_errno(error, -n, "cannot take the socket from systemd");
    if (n == 0)
        return 0;
    if (n > 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1) <= 0)
        return error_set(error, ERROR_USAGE, 0,
                         "systemd must pass exactly one listening unix stream socket");
    if (getsockname(SD_LISTEN_FDS_START, (struct sockaddr *)&address, &size) == 0 &&
        address.sun_path[0] == '/')
        share_with_group(address.sun_path);
    *fd = SD_LISTEN_FDS_START;
    return 1;
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

int listen_open(const char *path, int *fd, bool *made, Error *error) {
    int r = listen_from_systemd(fd, error);

    if (r != 0) {
        if (r > 0)
            *made = false;
        return r < 0 ? r : 0;
    }
    r = make_folder_of(path, error);
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
