/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_SANDBOX_H
#define RAMET_SWITCH_SANDBOX_H

/* Giving up what a switch does not need, before it reads anything from a guest. */

#include <sys/types.h>

#include "base/error.h"

/* Becomes uid:gid without groups and capabilities (when root and uid != 0), with no_new_privs, and
 * lets only those system calls through that the loop and libslirp need: nothing is opened, started
 * or executed any more, and sockets are made for IPv4 and IPv6 only. Nothing is filtered in builds
 * with sanitizers, whose runtime makes calls of its own. */
int sandbox_enter(uid_t uid, gid_t gid, Error *error);

#endif
