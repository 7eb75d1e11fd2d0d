/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_PEER_H
#define RAMET_DAEMON_PEER_H

/* Who is at the other end of a connection: SO_PEERCRED and SO_PEERGROUPS (unix(7)), as they were
 * when it connected. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/json.h"

#define PEER_GROUPS_MAX 1024

typedef struct Peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    size_t n_groups;
    gid_t groups[PEER_GROUPS_MAX]; /* supplementary ones; more are not looked at */
} Peer;

/* Who is at the other end of the socket. */
int peer_get(int socket, Peer *peer, Error *error);

/* Our own user and root may; under a root daemon also who is in `group` ((gid_t)-1: nobody else).
 */
bool peer_is_allowed(const Peer *peer, gid_t group);

/* May the peer have us read a whole folder, by its path? Only who may read all that we may.
 * ERROR_PERMISSION. */
int peer_check_folder(const Peer *peer, const char *path, Error *error);

/* The same of all that a request wants config disks made of: its own, and those of a lab's VMs. */
int peer_check_config_disks(const Peer *peer, const json_t *input, Error *error);

/* Opens a file for reading with the rights of the peer, not ours, so that a daemon of root reads
 * nothing for a client that the client could not read. Only this thread is somebody else meanwhile.
 */
int peer_open_file(const Peer *peer, const char *path, int *fd, Error *error);

#endif
