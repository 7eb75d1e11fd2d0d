/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_NETWORK_DEVICE_H
#define RAMET_FROZEN_NETWORK_DEVICE_H

/* What a device state has of its VM's networks, as a text: for each card, in their order, "dgram",
 * any network, "unplugged", the same with the cable out from the start, "user", a card of an
 * earlier version's VM in QEMU's own user-mode network, which has a section of its own in the
 * state, or "none", a card of an earlier version's VM, which had nothing to be connected by, and
 * whose driver agreed with QEMU on features that a connected one has not; joined by ';'. A state
 * loads only where there are as many cards, and each has what it had.
 */

#include <stdbool.h>
#include <stddef.h>

#include "store/vm_spec.h"

#define NETWORK_DEVICE_SIZE 64

/* Of a VM that boots. */
void network_device_of(const VmSpec *spec, char text[NETWORK_DEVICE_SIZE]);

/* The same as versions before had it, whose cards on user were in QEMU's own network. */
void network_device_earlier(const VmSpec *spec, char text[NETWORK_DEVICE_SIZE]);

/* Of one that goes on from a state of `was`. */
void network_device_restored(const char *was, char text[NETWORK_DEVICE_SIZE]);

/* How many cards; and is that one's network "user", or can it be connected to any? */
size_t network_device_count(const char *text);
bool network_device_is_user(const char *text, size_t card);
bool network_device_is_dgram(const char *text, size_t card);

/* Is it made of what this version knows? */
bool network_device_is_known(const char *text);

#endif
