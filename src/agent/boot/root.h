/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BOOT_ROOT_H
#define RAMET_AGENT_BOOT_ROOT_H

#include "agent/base/util.h"

#define ROOT_FOLDER "/newroot"

/* Finds the root's device (the virtio disk with the serial "root", or what ramet.root= names), its
 * file system, by partitions if there are some, and mounts it at ROOT_FOLDER. Waits for the device
 * until the deadline. */
int root_mount(int uevent_fd, uint64_t deadline_usec, Result *result);

/* Makes ROOT_FOLDER the root: moves /proc, /sys and /dev there and empties the initramfs. */
int root_switch(Result *result);

#endif
