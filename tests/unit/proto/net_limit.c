/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a network as a text, there and back. */
#include "proto/net_limit.h"

#include <stdlib.h>

#include "base/str.h"
#include "check.h"

static void check(const char *text, NetLimit expected, const char *formatted) {
    NetLimit limit = {0};
    CHECK_INT(net_limit_parse(text, &limit, NULL), 0);
    CHECK_INT(limit.in_bps, expected.in_bps);
    CHECK_INT(limit.out_bps, expected.out_bps);
    CHECK_INT(limit.packets, expected.packets);
    CHECK_INT(limit.connections, expected.connections);
    _cleanup_free_ char *again = net_limit_format(&limit);
    CHECK_STR(again, formatted);
}

static void test_texts(void) {
    check("in=10M,out=1G,packets=5k,connections=100", (NetLimit){10000000, 1000000000, 5000, 100},
          "in=10000000,out=1000000000,packets=5000,connections=100");
    check("connections=65535,in=12000", (NetLimit){12000, 0, 0, 65535},
          "in=12000,connections=65535");
    check("packets=1", (NetLimit){.packets = 1}, "packets=1");
    check("out=1000G", (NetLimit){.out_bps = UINT64_C(1000000000000)}, "out=1000000000000");
    check("", (NetLimit){0}, "");
}

static void refused(const char *text, const char *part) {
    NetLimit limit = {.packets = 7};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(net_limit_parse(text, &limit, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK_INT(limit.packets, 7);
}

static void test_what_is_none(void) {
    refused("in=10M,in=5M", "twice");
    refused("in", "in=");
    refused("in=", "in=");
    refused("in=11999", "from 12000");
    refused("in=-1", "in=-1");
    refused("in=1.5M", "1.5M");
    refused("in=M", "in=M");
    refused("in=1001G", "in=");
    refused("in=18446744073709551615G", "in=");
    refused("in=10Mi", "10Mi");
    refused("connections=65536", "to 65535");
    refused("packets=0", "packets=0");
    refused("latency=5", "latency");
    refused(",", "\"\"");
    refused("packets=5,,", "\"\"");
}

static void test_json(void) {
    const NetLimit none = {0}, some = {.packets = 5};
    _cleanup_json_ json_t *null = net_limit_to_json(&none), *json = net_limit_to_json(&some);
    CHECK(json_is_null(null) && net_limit_is_none(&none) && !net_limit_is_none(&some));
    CHECK_INT(json_integer_value(json_object_get(json, "packets")), 5);
    CHECK(json_is_null(json_object_get(json, "in_bits")));
}

int main(void) {
    RUN(test_texts);
    RUN(test_what_is_none);
    RUN(test_json);
    return 0;
}
