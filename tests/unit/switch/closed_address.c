/* SPDX-License-Identifier: Apache-2.0 */

/* Which addresses a guest must not reach. */

#include "switch/frame/closed_address.h"

#include <arpa/inet.h>

#include "check.h"
#include "switch/frame/ip.h"

static bool closed(const char *text) {
    uint8_t ip[16];
    bool ip6 = strchr(text, ':') != NULL;
    CHECK_INT(inet_pton(ip6 ? AF_INET6 : AF_INET, text, ip), 1);
    return ip6 ? is_closed_ip6(ip) : is_closed_ip(ip);
}

static void test_closed(void) {
    static const char *const all[] = {
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::2",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.1.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2002:a9fe:1::1",
        "::ffff:0:127.0.0.1",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!closed(all[i])) {
            fprintf(stderr, "%s is open\n", all[i]);
            exit(1);
        }
}

static void test_open(void) {
    static const char *const all[] = {
        "128.0.0.1",       "126.255.255.255",  "1.0.0.0",         "169.253.255.255", "169.255.0.0",
        "100.100.100.201", "192.168.1.1",      "10.0.0.1",        "2001:db8::1",     "fd00::1",
        "fe00::1",         "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8",  "::2:0:0:0",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (closed(all[i])) {
            fprintf(stderr, "%s is closed\n", all[i]);
            exit(1);
        }
}

static void test_prefixes(void) {
    static const uint8_t a[] = {10, 7, 0x80, 0}, b[] = {10, 7, 0xc0, 0};
    CHECK(in_prefix(a, b, 17));
    CHECK(!in_prefix(a, b, 18));
    CHECK(in_prefix(a, b, 0));
    CHECK(in_prefix(a, a, 32));
    CHECK(!in_prefix(a, b, 32));
}

int main(void) {
    RUN(test_closed);
    RUN(test_open);
    RUN(test_prefixes);
    return 0;
}
