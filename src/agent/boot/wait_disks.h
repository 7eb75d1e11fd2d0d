/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BOOT_WAIT_DISKS_H
#define RAMET_AGENT_BOOT_WAIT_DISKS_H

#include "agent/base/util.h"

/* Was it asked to, on the kernel's command line? */
bool wait_disks_is_asked(void);

/* Lets go of all disks, and waits until the keeper says that they are there. From then on
 * /proc/cmdline is what it said. 0, or a negative errno: there is no channel. */
int wait_disks(uint64_t deadline_usec);

#endif
