/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BASE_UEVENT_H
#define RAMET_AGENT_BASE_UEVENT_H

#include <stdint.h>

/* The kernel's announcements of devices: a descriptor (owned by the caller) or a negative errno.
 * Open it before looking for a device, then nothing is missed between the look and the wait. */
int uevent_open(void);

/* Waits for any announcement, at most until the deadline (now_usec), and swallows all that are
 * there. Without a descriptor it only pauses for a moment. */
void uevent_wait(int fd, uint64_t deadline_usec);

#endif
