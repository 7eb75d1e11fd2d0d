/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/empty_network.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

/* Without root it would take a user namespace, in which a QEMU that was taken over had all of the
 * kernel's network administration before it. */
int empty_network_enter(void) {
    if (geteuid() != 0)
        return -EPERM;
    return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}
