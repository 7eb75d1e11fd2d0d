/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_CLOSED_ADDRESS_H
#define RAMET_SWITCH_FRAME_CLOSED_ADDRESS_H

/* Addresses that a guest must not reach through the host's network stack. */

#include <stdbool.h>
#include <stdint.h>

/* The host's loopback and link-local addresses, those of clouds' metadata services, and whatever
 * the host's kernel takes for one of them. */
bool is_closed_ip(const uint8_t ip[4]);
bool is_closed_ip6(const uint8_t ip[16]);

/* Addresses of nobody, of several, or reserved: never of use behind a NAT. */
bool is_unroutable_ip(const uint8_t ip[4]);
bool is_unroutable_ip6(const uint8_t ip[16]);

#endif
