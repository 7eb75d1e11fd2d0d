/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_GUEST_MACS_H
#define RAMET_STORE_GUEST_MACS_H

/* The MAC addresses that the cards of a guest have inside of it, in their order, as a text: joined
 * by ';'. A clone in a network that translates them keeps those of its source, and its network
 * knows it by others. Empty: an earlier version did not say. */

#include <stdbool.h>
#include <stddef.h>

#define GUEST_MACS_SIZE (4 * 18) /* PLAN_CARDS_MAX of them */

/* Adds one at the end, unless there is no room. */
void guest_macs_add(char text[GUEST_MACS_SIZE], const char *mac);

/* That of a card; false, and nothing, when it does not say. */
bool guest_macs_get(const char *text, size_t card, char mac[18]);

#endif
