/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/closed_address.h"

#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "switch/frame/ip.h"

typedef struct Prefix {
    uint8_t address[16];
    uint8_t bits;
} Prefix;

/* RFC 1122 (loopback; 0/8 is this host), RFC 3927 (link-local, with the metadata of most clouds);
 * further metadata: Alibaba, Oracle, Azure. */
static const Prefix closed4[] = {
    {{0}, 8},
    {{127}, 8},
    {{169, 254}, 16},
    {{100, 100, 100, 200}, 32},
    {{192, 0, 0, 192}, 32},
    {{168, 63, 129, 16}, 32},
};

/* RFC 4291 (unspecified, loopback, link-local, the deprecated site-local, in which libslirp has
 * aliases of the host), and Amazon's metadata (fd00:ec2::254), Google's (fd20:ce::254). */
static const Prefix closed6[] = {
    {{0}, 128},
    {{[15] = 1}, 128},
    {{0xfe, 0x80}, 10},
    {{0xfe, 0xc0}, 10},
    {{0xfd, 0, 0x0e, 0xc2, [14] = 2, 0x54}, 128},
    {{0xfd, 0x20, 0, 0xce, [14] = 2, 0x54}, 128},
};

/* Prefixes that carry an IPv4 address, and where: mapped, compatible (RFC 4291), translated (RFC
 * 6052, RFC 2765), 6to4 (RFC 3056). */
static const struct {
    Prefix prefix;
    uint8_t at;
} carries4[] = {
    {{{[10] = 0xff, 0xff}, 96}, 12}, {{{0}, 96}, 12},         {{{0, 0x64, 0xff, 0x9b}, 96}, 12},
    {{{[8] = 0xff, 0xff}, 96}, 12},  {{{0x20, 0x02}, 16}, 2},
};

static bool is_in(const uint8_t *address, const Prefix *prefixes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (in_prefix(address, prefixes[i].address, prefixes[i].bits))
            return true;
    return false;
}

bool is_closed_ip(const uint8_t ip[4]) {
    return is_in(ip, closed4, ARRAY_SIZE(closed4));
}

bool is_closed_ip6(const uint8_t ip[16]) {
    for (size_t i = 0; i < ARRAY_SIZE(carries4); i++)
        if (in_prefix(ip, carries4[i].prefix.address, carries4[i].prefix.bits) &&
            is_closed_ip(ip + carries4[i].at))
            return true;
    return is_in(ip, closed6, ARRAY_SIZE(closed6));
}

bool is_unroutable_ip(const uint8_t ip[4]) {
    return ip[0] >= 224 || is_unset(ip, 4);
}

bool is_unroutable_ip6(const uint8_t ip[16]) {
    return ip[0] == 0xff || is_unset(ip, 16);
}
