/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

int peer_get(int socket, Peer *peer, Error *error) {
    struct ucred credentials;
    socklen_t size = sizeof(credentials), groups_size = sizeof(peer->groups);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return error_set_errno(error, errno, "cannot tell who connected");
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &groups_size) < 0)
        groups_size = 0;
    peer->pid = credentials.pid;
    peer->uid = credentials.uid;
    peer->gid = credentials.gid;
    peer->n_groups = groups_size / sizeof(gid_t);
    return 0;
}

bool peer_is_allowed(const Peer *peer, gid_t group) {
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    if (group == (gid_t)-1)
        return false;
    if (peer->gid == group)
        return true;
    for (size_t i = 0; i < peer->n_groups; i++)
        if (peer->groups[i] == group)
            return true;
    return false;
}

/* The groups of this thread alone: glibc's setgroups(3) would change those of all threads. */
static int thread_set_groups(size_t count, const gid_t *groups) {
    return syscall(SYS_setgroups, count, groups) < 0 ? -errno : 0;
}

/* setfsuid(2) tells no errors: asking again with -1 shows whether it took. A change from 0 also
 * takes the capabilities that overrule file permissions. */
static int thread_become(uid_t uid, gid_t gid) {
    (void)setfsgid(gid);
    (void)setfsuid(uid);
    return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid ? 0 : -EPERM;
}

static int open_plain(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static int open_as(const Peer *peer, const char *path) {
    gid_t own[PEER_GROUPS_MAX];
    int n_own = getgroups(PEER_GROUPS_MAX, own), r;
    if (n_own < 0)
        return -errno;
    r = thread_set_groups(peer->n_groups, peer->groups);
    if (r < 0)
        return r;
    r = thread_become(peer->uid, peer->gid);
    if (r == 0)
        r = open_plain(path);
    /* back to ourselves; a thread that cannot must not go on */
    if (thread_become(geteuid(), getegid()) < 0 || thread_set_groups((size_t)n_own, own) < 0)
        abort();
    return r;
}

int peer_open_file(const Peer *peer, const char *path, int *fd, Error *error) {
    _cleanup_close_ int opened = -1;
    struct stat st;
    int r;
    if (path[0] != '/')
        return error_set(error, ERROR_USAGE, 0, "the path %s is not absolute", path);
    r = peer->uid == geteuid() || geteuid() != 0 ? open_plain(path) : open_as(peer, path);
    if (r < 0)
        return error_set_errno(error, -r, "cannot open %s", path);
    opened = r;
    if (fstat(opened, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(error, ERROR_USAGE, 0, "%s is not a regular file", path);
    (void)fd_set_nonblocking(opened, false);
    *fd = TAKE_FD(opened);
    return 0;
}

int peer_check_folder(const Peer *peer, const char *path, Error *error) {
    if (peer->uid == 0 || peer->uid == geteuid())
        return 0;
    error_set(error, ERROR_PERMISSION, EACCES,
              "this daemon is another user's, and would read %s with that user's rights", path);
    error_set_hint(error, "do it as the daemon's user, or with a RAMET_HOME of your own");
    return -EACCES;
}

static int check_config_disk(const Peer *peer, const json_t *object, Error *error) {
    const char *path = json_string_value(json_object_get(object, "config_disk"));
    return path ? peer_check_folder(peer, path, error) : 0;
}

int peer_check_config_disks(const Peer *peer, const json_t *input, Error *error) {
    const json_t *vms = json_object_get(input, "vms");
    int r = check_config_disk(peer, input, error);
    for (size_t i = 0; r >= 0 && i < json_array_size(vms); i++)
        r = check_config_disk(peer, json_array_get(vms, i), error);
    return r;
}
