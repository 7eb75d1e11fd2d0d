/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_PROCESS_SANDBOX_H
#define RAMET_KEEPER_PROCESS_SANDBOX_H

/* Giving up what the keeper does not need, in two steps: users and capabilities before QEMU is
 * started, which inherits that; system calls after it, since QEMU has its own filter. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Becomes uid:gid without groups and capabilities (when root and uid != 0), and sets no_new_privs
 * in any case. There is no way back. With kvm a child of this process will be able to open
 * /dev/kvm. */
int sandbox_drop_privileges(uid_t uid, gid_t gid, bool kvm, Error *error);

/* Only the calls that the event loop needs are left; any other ends the process. Nothing is
 * filtered in builds with sanitizers, whose runtime makes calls of its own. */
int sandbox_filter_calls(Error *error);

#endif
