/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_KVM_DEVICE_H
#define RAMET_ZYGOTE_KVM_DEVICE_H

/* A VM's own user and /dev/kvm, which on most hosts only root and one group may open. Also part of
 * the zygote's library (docs/zygote.md), so it needs nothing else of ours. */

#include <sys/types.h>

/* Called by root, before it becomes uid. Sees to it that uid can open /dev/kvm afterwards: *group
 * is the group that it has to have for that, or 0 for none. Where no group will do, the process
 * gets a mount namespace in which /dev/kvm belongs to uid; the host's stays as it is. Returns 0 or
 * a negative errno. */
int kvm_device_admit(uid_t uid, gid_t *group);

#endif
