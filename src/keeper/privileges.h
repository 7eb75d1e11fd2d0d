/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_PRIVILEGES_H
#define RAMET_KEEPER_PRIVILEGES_H

/* Giving up what root has. Also part of the zygote's library (docs/zygote.md), so it needs nothing
 * else of ours. */

#include <sys/types.h>

/* Becomes uid and gid without further groups, empties all capability sets, and sets no_new_privs.
 * For another user than root, or when uid is 0, the ids stay and only no_new_privs is set. Returns
 * 0 or a negative errno, and what could not be done in *failed. */
int privileges_drop(uid_t uid, gid_t gid, const char **failed);

#endif
