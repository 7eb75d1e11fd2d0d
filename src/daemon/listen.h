/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_LISTEN_H
#define RAMET_DAEMON_LISTEN_H

/* The API's socket: from the service manager, or made here; and what else the manager passed. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

#define LISTEN_GROUP "ramet"

/* The group that may use a root daemon's socket; (gid_t)-1 when there is none or we are not root.
 */
gid_t listen_group(void);

/* What the service manager passed (sd_listen_fds(3)), told apart by its names. */
typedef struct Passed {
    int socket_fd; /* owned: the API's; -1: none */
    int count;
    char **names; /* owned, NULL at the end: of all, from SD_LISTEN_FDS_START on */
} Passed;

/* Once, before there are threads: it changes the environment. */
int listen_adopt_passed(Passed *passed, Error *error);

/* Whether a name is that of what the daemon itself had the manager keep: a memory base. */
bool listen_is_memory(const char *name);

/* A listening unix socket: the one that was passed, or else one at `path`. made is true when that
 * file is ours to remove in the end. Its mode is 0660 with the group "ramet" where a root daemon
 * finds that group, else 0600. The caller owns the descriptor. */
int listen_open(const char *path, Passed *passed, int *fd, bool *made, Error *error);

#endif
