/* SPDX-License-Identifier: Apache-2.0 */

#include "network/subnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

#define PREFIX_MIN 8
#define PREFIX_MAX 29 /* network, gateway, broadcast, and five VMs */

bool ipv4_parse(const char *text, uint32_t *address) {
    struct in_addr parsed;
    if (inet_pton(AF_INET, text, &parsed) != 1)
        return false;
    *address = ntohl(parsed.s_addr);
    return true;
}

void ipv4_format(uint32_t address, char text[16]) {
    struct in_addr in = {.s_addr = htonl(address)};
    (void)inet_ntop(AF_INET, &in, text, 16);
}

static uint32_t mask_of(unsigned prefix) {
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

uint32_t subnet_broadcast(const Subnet *subnet) {
    return subnet->address | ~mask_of(subnet->prefix);
}

bool subnets_overlap(const Subnet *one, const Subnet *other) {
    uint32_t mask = mask_of(MIN_OF(one->prefix, other->prefix));
    return (one->address & mask) == (other->address & mask);
}

Subnet subnet_of(const char *address, unsigned prefix) {
    Subnet subnet = {.prefix = prefix};
    (void)ipv4_parse(address, &subnet.address);
    return subnet;
}

/* What no station has as its own: RFC 6890. */
static bool is_special(const Subnet *subnet) {
    static const Subnet special[] = {{0, 8}, {0x7f000000, 8}, {0xa9fe0000, 16}, {0xe0000000, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(special); i++)
        if (subnets_overlap(subnet, &special[i]))
            return true;
    return false;
}

int subnet_parse(const char *text, Subnet *subnet, Error *error) {
    Subnet parsed = {.prefix = 0};
    char address[16] = "";
    int end = 0;
    int n = sscanf(text, "%15[0-9.]/%2u%n", address, &parsed.prefix, &end);
    if (n != 2 || text[end] || !ipv4_parse(address, &parsed.address)) {
        error_set(error, ERROR_USAGE, EINVAL, "\"%.40s\" is no IPv4 network", text);
        error_set_hint(error, "such as 10.1.0.0/24");
        return -EINVAL;
    }
    if (parsed.prefix < PREFIX_MIN || parsed.prefix > PREFIX_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a network has /%d to /%d, not /%u",
                         PREFIX_MIN, PREFIX_MAX, parsed.prefix);
    if (parsed.address & ~mask_of(parsed.prefix))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "%s is an address within a network, not that of a /%u", address,
                         parsed.prefix);
    if (is_special(&parsed))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "%s has addresses that no machine can have (loopback, link-local, "
                         "multicast or none)",
                         text);
    *subnet = parsed;
    return 0;
}
