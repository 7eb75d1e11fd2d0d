/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MACHINE_START_SLOTS_H
#define RAMET_MACHINE_START_SLOTS_H

/* Twice as many clones start at a time as there are cores, in all requests together: starting QEMU
 * is work for a processor, and more of them at once only make all of them late. */

#include "base/error.h"

/* How many. */
long start_slots_max(void);

/* Waits for a slot as long as the client does: ERROR_CANCELLED. */
int start_slot_acquire(int cancel_fd, Error *error);
void start_slot_release(void);

#endif
