/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_SUBNET_H
#define RAMET_NETWORK_SUBNET_H

/* Blocks of IPv4 addresses, as numbers in host order. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct Subnet {
    uint32_t address; /* its first one */
    unsigned prefix;  /* 0 … 32 */
} Subnet;

/* "10.1.0.0/24": of a network, so no host bits; 8 to 29 bits; of addresses that stations have.
 * ERROR_USAGE. */
int subnet_parse(const char *text, Subnet *subnet, Error *error);

/* From a row, where it was checked: "10.1.0.0" and 24. */
Subnet subnet_of(const char *address, unsigned prefix);

bool subnets_overlap(const Subnet *one, const Subnet *other);
uint32_t subnet_broadcast(const Subnet *subnet); /* its last address */

/* A dotted address as a number, and back. */
bool ipv4_parse(const char *text, uint32_t *address);
void ipv4_format(uint32_t address, char text[16]);

#endif
