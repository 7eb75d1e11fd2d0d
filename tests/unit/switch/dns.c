/* SPDX-License-Identifier: Apache-2.0 */

/* Queries that are cut off or turned anywhere. What good ones are answered with is in outside.py.
 */

#include "switch/outside/dns.h"

#include "check.h"
#include "switch/frame/packet.h"

static const uint8_t good[] = {0x12, 0x34, 1,   0,   0,   1, 0,   0,   0,   0, 0,
                               0,    3,    'W', 'e', 'b', 3, 'l', 'a', 'b', 5, 'r',
                               'a',  'm',  'e', 't', 0,   0, 1,   0,   1};
static Switch net; /* without ports: every name of its domain is unknown */

static void test_reading(void) {
    DnsQuery query;
    CHECK_INT(dns_read_query(&query, good, sizeof(good)), DNS_OK);
    CHECK_STR(query.name, "web.lab.ramet");
    CHECK_INT(query.type, 1);
    CHECK_INT(query.question_end, sizeof(good));
}

static void answer_all(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size ? size : 1), answer[DNS_ANSWER_MAX];
    DnsQuery query;
    memcpy(exact, data, size);
    int code = dns_read_query(&query, exact, size);
    if (code >= 0) {
        size_t length = code == DNS_OK ? dns_answer(&net, &query, answer, sizeof(answer)) : 0;
        if (length == 0)
            length = dns_refuse(&query, DNS_REFUSED, answer, sizeof(answer));
        CHECK(length >= DNS_HEADER_SIZE && length <= sizeof(answer));
        CHECK(answer[2] & 0x80);
    }
    free(exact);
}

static void test_cut_off_and_turned_anywhere(void) {
    uint8_t bytes[sizeof(good)];
    for (size_t size = 0; size <= sizeof(good); size++)
        answer_all(good, size);
    for (size_t bit = 0; bit < sizeof(good) * 8; bit++) {
        memcpy(bytes, good, sizeof(bytes));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        answer_all(bytes, sizeof(bytes));
    }
}

static void test_the_longest_name(void) {
    uint8_t bytes[12 + 4 * 64 + 8] = {0, 1, 1, 0, 0, 1};
    DnsQuery query;
    for (size_t label = 0; label < 4; label++) {
        bytes[12 + label * 64] = 63;
        memset(bytes + 13 + label * 64, 'a', 63);
    }
    bytes[12 + 3 * 64] = 62; /* 254 letters and dots in all */
    bytes[12 + 3 * 64 + 63] = 0;
    CHECK_INT(dns_read_query(&query, bytes, sizeof(bytes)), DNS_FORMAT);
    bytes[12 + 3 * 64] = 61;
    bytes[12 + 3 * 64 + 62] = 0;
    CHECK_INT(dns_read_query(&query, bytes, sizeof(bytes)), DNS_OK);
    CHECK_INT(strlen(query.name), 253);
    answer_all(bytes, sizeof(bytes));
}

static void test_what_is_no_text_is_nobodys_name(void) {
    uint8_t bytes[sizeof(good)];
    DnsQuery query;
    memcpy(bytes, good, sizeof(bytes));
    bytes[14] = '.';
    CHECK_INT(dns_read_query(&query, bytes, sizeof(bytes)), DNS_OK);
    CHECK_STR(query.name, "");
}

static void test_truncated(void) {
    uint8_t answer[600] = {0, 1, 0x81, 0x80, 0, 1, 0, 9, 0, 2, 0, 3};
    CHECK_INT(dns_truncate(answer, 31), 31);
    CHECK_INT(get_be16(answer + 2), 0x8380);
    CHECK_INT(get_be16(answer + 4), 1);
    CHECK(is_unset(answer + 6, 6));
}

int main(void) {
    (void)snprintf(net.network.name, sizeof(net.network.name), "lab");
    RUN(test_reading);
    RUN(test_cut_off_and_turned_anywhere);
    RUN(test_the_longest_name);
    RUN(test_what_is_no_text_is_nobodys_name);
    RUN(test_truncated);
    return 0;
}
