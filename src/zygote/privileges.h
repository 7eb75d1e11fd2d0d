/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_PRIVILEGES_H
#define RAMET_ZYGOTE_PRIVILEGES_H

/* Giving up what root has. Also part of the zygote's library (docs/zygote.md), so it needs nothing
 * else of ours but zygote/kvm_device.h. */

#include <stdbool.h>
#include <sys/types.h>

/* Becomes uid and gid without further groups, empties all capability sets, and sets no_new_privs.
 * With kvm that user can open /dev/kvm (zygote/kvm_device.h), for which it may need one group. For
 * another user than root, or when uid is 0, the ids stay and only no_new_privs is set. Returns 0 or
 * a negative errno, and what could not be done in *failed. */
int privileges_drop(uid_t uid, gid_t gid, bool kvm, const char **failed);

#endif
