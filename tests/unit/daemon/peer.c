/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/peer.h"

static void test_get(void) {
    Peer peer;
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    CHECK_INT(peer_get(pair[0], &peer, NULL), 0);
    CHECK_INT(peer.pid, getpid());
    CHECK_INT(peer.uid, geteuid());
    CHECK_INT(peer.gid, getegid());
    (void)fd_close(pair[0]);
    (void)fd_close(pair[1]);
}

static void test_allowed(void) {
    static Peer peer = {.uid = 4711, .gid = 100, .n_groups = 2, .groups = {7, 8}};
    CHECK(!peer_is_allowed(&peer, (gid_t)-1));
    CHECK(!peer_is_allowed(&peer, 9));
    CHECK(peer_is_allowed(&peer, 8));
    CHECK(peer_is_allowed(&peer, 100));
    peer.uid = geteuid();
    CHECK(peer_is_allowed(&peer, (gid_t)-1));
    peer.uid = 0;
    CHECK(peer_is_allowed(&peer, (gid_t)-1));
}

static int try_config(const Peer *peer, const char *text) {
    _cleanup_json_ json_t *input = json_loads(text, 0, NULL);
    return peer_check_config_disks(peer, input, NULL);
}

/* What only the daemon's user may have read. */
static void test_config_disks(void) {
    static Peer peer = {.uid = 4711};
    CHECK_INT(try_config(&peer, "{\"image\":\"x\"}"), 0);
    CHECK_INT(try_config(&peer, "{\"config_disk\":\"/etc/shadow\"}"), -EACCES);
    CHECK_INT(try_config(&peer, "{\"vms\":[{\"image\":\"x\"},{\"config_disk\":\"/etc\"}]}"),
              -EACCES);
    peer.uid = geteuid();
    CHECK_INT(try_config(&peer, "{\"config_disk\":\"/etc/shadow\"}"), 0);
}

static int try_open(const Peer *peer, const char *path) {
    int fd = -1, r = peer_open_file(peer, path, &fd, NULL);
    (void)fd_close(fd);
    return r;
}

static void test_open_plain(void) {
    static Peer peer;
    peer.uid = geteuid();
    peer.gid = getegid();
    CHECK_INT(try_open(&peer, "/etc/passwd"), 0);
    CHECK(try_open(&peer, "etc/passwd") < 0);
    CHECK(try_open(&peer, "/etc") < 0);
    CHECK(try_open(&peer, "/dev/null") < 0);
    CHECK_INT(try_open(&peer, "/nonexistent"), -ENOENT);
}

/* A daemon of root opens what the client may open and nothing else, and is itself again after. */
static void test_open_as_client(void) {
    static Peer peer = {.uid = 65534, .gid = 65534, .n_groups = 1, .groups = {4711}};
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *secret = path_join(folder, "secret");
    int fd;
    if (geteuid() != 0)
        return;
    CHECK_INT(chmod(folder, 0755), 0);
    fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    (void)fd_close(fd);
    CHECK_INT(try_open(&peer, "/etc/passwd"), 0);
    CHECK_INT(try_open(&peer, secret), -EACCES);
    CHECK_INT(chown(secret, 0, 4711), 0);
    CHECK_INT(chmod(secret, 0640), 0);
    CHECK_INT(try_open(&peer, secret), 0);
    peer.n_groups = 0;
    CHECK_INT(try_open(&peer, secret), -EACCES);
    peer.uid = 0;
    CHECK_INT(try_open(&peer, secret), 0);
}

int main(void) {
    RUN(test_get);
    RUN(test_allowed);
    RUN(test_config_disks);
    RUN(test_open_plain);
    RUN(test_open_as_client);
    return 0;
}
