/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_LISTEN_H
#define RAMET_DAEMON_LISTEN_H

/* The API's socket: from systemd (sd_listen_fds(3)), or made here. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

#define LISTEN_GROUP "ramet"

/* The group that may use a root daemon's socket; (gid_t)-1 when there is none or we are not root.
 */
gid_t listen_group(void);

/* A listening unix socket. made is true when the file at `path` is ours to remove in the end. Its
 * mode is 0660 with the group "ramet" where a root daemon finds that group, else 0600. The caller
 * owns the descriptor. */
int listen_open(const char *path, int *fd, bool *made, Error *error);

#endif
