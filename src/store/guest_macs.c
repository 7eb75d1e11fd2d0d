/* SPDX-License-Identifier: Apache-2.0 */

#include "store/guest_macs.h"

#include <stdio.h>
#include <string.h>

#include "proto/plan.h"

#define MAC_LENGTH 17

_Static_assert(GUEST_MACS_SIZE >= PLAN_CARDS_MAX * (MAC_LENGTH + 1), "no room for all cards");

void guest_macs_add(char text[GUEST_MACS_SIZE], const char *mac) {
    size_t length = strlen(text);
    if (strlen(mac) == MAC_LENGTH && length + MAC_LENGTH + 1 < GUEST_MACS_SIZE)
        (void)snprintf(text + length, GUEST_MACS_SIZE - length, "%s%s", length ? ";" : "", mac);
}

bool guest_macs_get(const char *text, size_t card, char mac[18]) {
    size_t at = card * (MAC_LENGTH + 1);
    if (at + MAC_LENGTH > strlen(text))
        return false;
    (void)snprintf(mac, MAC_LENGTH + 1, "%.*s", MAC_LENGTH, text + at);
    return true;
}
