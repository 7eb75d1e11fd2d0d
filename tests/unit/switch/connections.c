/* SPDX-License-Identifier: Apache-2.0 */

/* Connections that are counted, and tokens that are taken. Times are made up. */

#include "switch/frame/connections.h"

#include "check.h"
#include "switch/frame/bucket.h"

#define SECOND 1000000u
#define START ((uint64_t)1000 * SECOND)
#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

static uint8_t guest[4] = {10, 7, 0, 2}, peer[4] = {192, 0, 2, 1};

/* As it leaves the guest, or comes back to it. */
static Packet packet_of(uint8_t inner[20], bool out, uint8_t protocol, unsigned port,
                        uint8_t flags) {
    unsigned service = protocol == PROTOCOL_UDP ? 53 : 80;
    memset(inner, 0, 20);
    put_be16(inner, (uint16_t)(out ? port : service));
    put_be16(inner + 2, (uint16_t)(out ? service : port));
    if (protocol == PROTOCOL_TCP)
        inner[13] = flags;
    return (Packet){.ethertype = ETHERTYPE_IP4,
                    .protocol = protocol,
                    .src = out ? guest : peer,
                    .dst = out ? peer : guest,
                    .inner = inner,
                    .inner_size = 20};
}

static bool out(Connections *table, unsigned port, uint8_t flags, uint64_t most, uint64_t now) {
    uint8_t inner[20];
    Packet packet = packet_of(inner, true, PROTOCOL_TCP, port, flags);
    return connections_admit(table, &packet, most, now);
}

static void in(Connections *table, unsigned port, uint8_t flags, uint64_t now) {
    uint8_t inner[20];
    Packet packet = packet_of(inner, false, PROTOCOL_TCP, port, flags);
    connections_note(table, &packet, now);
}

static bool ask(Connections *table, unsigned port, uint64_t most, uint64_t now) {
    uint8_t inner[20];
    Packet packet = packet_of(inner, true, PROTOCOL_UDP, port, 0);
    return connections_admit(table, &packet, most, now);
}

static void test_so_many_and_no_more(void) {
    Connections *table = connections_new();
    CHECK(out(table, 1, SYN, 2, START) && out(table, 2, SYN, 2, START));
    CHECK(out(table, 1, SYN, 2, START)); /* sent again */
    CHECK(!out(table, 3, SYN, 2, START));
    CHECK(out(table, 9, ACK, 2, START)); /* of one that is not counted */
    CHECK(out(table, 9, SYN | ACK, 2, START));
    CHECK_INT(connections_count(table), 2);
    in(table, 1, SYN | ACK, START);
    CHECK(out(table, 1, ACK, 2, START) && out(table, 1, FIN | ACK, 2, START));
    CHECK_INT(connections_count(table), 2); /* the other side may send yet */
    in(table, 1, FIN | ACK, START);
    CHECK_INT(connections_count(table), 1);
    CHECK(out(table, 1, ACK, 1, START)); /* the last one */
    CHECK(out(table, 3, SYN, 2, START));
    in(table, 2, RST, START);
    CHECK(out(table, 3, RST, 2, START));
    CHECK_INT(connections_count(table), 0);
    in(table, 7, SYN, START); /* through a forward */
    CHECK(out(table, 7, SYN | ACK, 0, START));
    CHECK_INT(connections_count(table), 0);
    connections_free(table);
}

static void test_a_lower_limit_ends_none(void) {
    Connections *table = connections_new();
    for (unsigned i = 0; i < 10; i++)
        CHECK(out(table, i, SYN, 10, START));
    for (unsigned i = 0; i < 10; i++)
        CHECK(out(table, i, ACK, 3, START));
    CHECK(!out(table, 10, SYN, 3, START));
    for (unsigned i = 0; i < 8; i++)
        in(table, i, RST, START);
    CHECK(out(table, 10, SYN, 3, START));
    connections_free(table);
}

static void test_what_is_over_by_its_time(void) {
    Connections *table = connections_new();
    CHECK(out(table, 1, SYN, 3, START) && out(table, 2, SYN, 3, START));
    in(table, 2, SYN | ACK, START);
    CHECK(ask(table, 3, 3, START));
    CHECK(!ask(table, 4, 3, START));
    CHECK(ask(table, 4, 3, START + CONNECTION_DNS_USEC + 2 * SECOND)); /* 3 is over */
    CHECK(!out(table, 5, SYN, 3, START + CONNECTION_DNS_USEC + 4 * SECOND));
    CHECK(out(table, 5, SYN, 3, START + CONNECTION_SYN_USEC + 1));
    CHECK(out(table, 6, SYN, 3, START + CONNECTION_SYN_USEC + 2 * SECOND)); /* for 4 */
    CHECK(!out(table, 7, SYN, 3, START + CONNECTION_SYN_USEC + 4 * SECOND));
    CHECK(out(table, 7, SYN, 3, START + CONNECTION_TCP_USEC + 1)); /* all of them */
    CHECK_INT(connections_count(table), 1);
    connections_free(table);
}

/* What the hash table has, and what its chains lead to, stays one. */
static void test_many(void) {
    Connections *table = connections_new();
    for (unsigned i = 0; i < 60000; i++)
        CHECK(out(table, i, SYN, SWITCH_CONNECTIONS_MAX, START));
    CHECK_INT(connections_count(table), 60000);
    for (unsigned i = 0; i < 60000; i += 3)
        in(table, i, RST, START);
    CHECK_INT(connections_count(table), 40000);
    for (unsigned i = 0; i < 60000; i++) {
        in(table, i, RST, START);
        in(table, i, RST, START);
    }
    CHECK_INT(connections_count(table), 0);
    connections_free(table);
    connections_free(NULL);
}

static void test_other_packets_pass(void) {
    Connections *table = connections_new();
    uint8_t inner[20];
    Packet packet = packet_of(inner, true, PROTOCOL_TCP, 1, SYN);
    packet.fragment = true;
    CHECK(connections_admit(table, &packet, 0, START));
    packet = packet_of(inner, true, PROTOCOL_ICMP, 1, 0);
    CHECK(connections_admit(table, &packet, 0, START));
    CHECK_INT(connections_count(table), 0);
    connections_free(table);
}

static unsigned taken(Bucket *bucket, unsigned tries, uint64_t now) {
    unsigned n = 0;
    while (tries-- > 0)
        n += bucket_take(bucket, now);
    return n;
}

static void test_bucket(void) {
    Bucket bucket = {0};
    CHECK_INT(taken(&bucket, 1000, START), 1000);
    bucket_set(&bucket, 1000, START);
    CHECK_INT(taken(&bucket, 1000, START), 250);
    CHECK_INT(taken(&bucket, 1000, START + SECOND / 100), 10);
    CHECK_INT(taken(&bucket, 1000, START + SECOND / 100), 0);
    CHECK_INT(taken(&bucket, 1000, START + 3600ull * SECOND), 250);
    bucket_set(&bucket, 1, START);
    CHECK_INT(taken(&bucket, 100, START), 8);
    CHECK_INT(taken(&bucket, 100, START + SECOND - 1), 0);
    CHECK_INT(taken(&bucket, 100, START + SECOND), 1);
    bucket_set(&bucket, 1000000000, START);
    CHECK_INT(taken(&bucket, 1000, START + 3600ull * SECOND), 1000);
}

int main(void) {
    RUN(test_so_many_and_no_more);
    RUN(test_a_lower_limit_ends_none);
    RUN(test_what_is_over_by_its_time);
    RUN(test_many);
    RUN(test_other_packets_pass);
    RUN(test_bucket);
    return 0;
}
