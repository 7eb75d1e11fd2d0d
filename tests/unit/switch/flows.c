/* SPDX-License-Identifier: Apache-2.0 */

/* Answers to UDP that came from outside. */

#include "switch/frame/flows.h"

#include "check.h"

static Flows flows;

static Packet datagram(uint8_t inner[8], uint16_t from, uint16_t to) {
    put_be16(inner, from);
    put_be16(inner + 2, to);
    return (Packet){.ethertype = ETHERTYPE_IP4, .protocol = PROTOCOL_UDP, .inner = inner};
}

static void test_only_answers(void) {
    static const uint8_t guest[] = {10, 7, 0, 2}, peer[] = {10, 7, 0, 1}, other[] = {10, 7, 0, 3};
    uint8_t inner[8] = {0};
    Packet in = datagram(inner, 4000, 53);
    flows_note(&flows, guest, peer, &in);
    Packet out = datagram(inner, 53, 4000);
    CHECK(flows_know(&flows, guest, peer, &out));
    CHECK(!flows_know(&flows, other, peer, &out));
    CHECK(!flows_know(&flows, guest, other, &out));
    out = datagram(inner, 53, 4001);
    CHECK(!flows_know(&flows, guest, peer, &out));
    out = datagram(inner, 4000, 53);
    CHECK(!flows_know(&flows, guest, peer, &out));
}

static void test_fragments_say_nothing(void) {
    static const uint8_t guest[] = {10, 8, 0, 2}, peer[] = {10, 8, 0, 1};
    uint8_t inner[8] = {0};
    Packet in = datagram(inner, 1, 2), out;
    in.fragment = true;
    flows_note(&flows, guest, peer, &in);
    out = datagram(inner, 2, 1);
    CHECK(!flows_know(&flows, guest, peer, &out));
}

static void test_others_take_its_place(void) {
    uint8_t guest[] = {10, 7, 0, 2}, peer[] = {9, 0, 0, 0}, inner[8] = {0};
    unsigned known = 0;
    for (unsigned i = 0; i < 2000; i++) {
        put_be16(peer + 2, (uint16_t)i);
        Packet in = datagram(inner, 1, 2);
        flows_note(&flows, guest, peer, &in);
    }
    for (unsigned i = 0; i < 2000; i++) {
        put_be16(peer + 2, (uint16_t)i);
        Packet out = datagram(inner, 2, 1);
        known += flows_know(&flows, guest, peer, &out);
    }
    CHECK(known > FLOWS_MAX / 2 && known <= FLOWS_MAX);
}

int main(void) {
    RUN(test_only_answers);
    RUN(test_fragments_say_nothing);
    RUN(test_others_take_its_place);
    return 0;
}
