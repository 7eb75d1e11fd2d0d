/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_IP_H
#define RAMET_SWITCH_FRAME_IP_H

/* Addresses as they stand in packets: bytes in network order. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Are all bytes of an address zero? */
static inline bool is_unset(const uint8_t *address, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (address[i] != 0)
            return false;
    return true;
}

/* Is it within the prefix of so many bits? */
static inline bool in_prefix(const uint8_t *address, const uint8_t *prefix, uint64_t bits) {
    size_t whole = (size_t)bits / 8;
    if (memcmp(address, prefix, whole) != 0)
        return false;
    unsigned rest = (unsigned)bits % 8;
    return rest == 0 || (address[whole] ^ prefix[whole]) >> (8 - rest) == 0;
}

#endif
