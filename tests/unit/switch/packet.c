/* SPDX-License-Identifier: Apache-2.0 */

/* Frames taken apart, also those that are cut off anywhere; checksums. What is dropped of a whole
 * frame, and why, is in ports.py. */

#include "switch/frame/packet.h"

#include <stdlib.h>

#include "check.h"

/* A datagram of 4 bytes from 10.7.0.2:1000 to 10.7.0.3:2000, with its checksums; and behind it
 * padding. */
static const uint8_t udp[] = {
    0x52, 0x54, 0,    0,    0,    3,    0x52, 0x54, 0,    0,    0,   2,   0x08, 0x00, 0x45, 0,
    0,    32,   0,    0,    0x40, 0,    64,   17,   0x26, 0xbb, 10,  7,   0,    2,    10,   7,
    0,    3,    0x03, 0xe8, 0x07, 0xd0, 0,    12,   0x17, 0x0d, 'a', 'b', 'c',  'd',  0xee, 0xee,
};

static int parse(Packet *packet, const uint8_t *frame, size_t size) {
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees what is read beyond */
    memcpy(exact, frame, size);
    int r = packet_parse(packet, exact, size);
    free(exact);
    return r;
}

static void test_a_datagram(void) {
    uint8_t frame[sizeof(udp)];
    Packet packet;
    memcpy(frame, udp, sizeof(frame));
    CHECK_INT(packet_parse(&packet, frame, sizeof(frame)), DROP_NONE);
    CHECK_INT(packet.protocol, PROTOCOL_UDP);
    CHECK_INT(packet.inner_size, 12); /* without the padding */
    CHECK(!packet.fragment);
    CHECK_INT(get_be16(packet.inner), 1000);
    CHECK_INT(get_be32(packet.dst), 0x0a070003);
    CHECK_INT(checksum(packet.ip, IP4_SIZE, 0), 0);
}

static void test_cut_off_anywhere(void) {
    Packet packet;
    for (size_t size = 0; size < sizeof(udp) - 2; size++)
        CHECK_INT(parse(&packet, udp, size), SWITCH_DROP_RUNT);
    CHECK_INT(parse(&packet, udp, sizeof(udp) - 2), DROP_NONE);
}

static void test_each_bit_turned(void) {
    uint8_t frame[sizeof(udp)];
    Packet packet;
    for (size_t bit = 0; bit < sizeof(udp) * 8; bit++) {
        memcpy(frame, udp, sizeof(frame));
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int r = parse(&packet, frame, sizeof(frame));
        CHECK(r >= DROP_NONE && r < SWITCH_DROP_COUNT);
    }
}

static void test_extension_headers_end(void) {
    uint8_t frame[ETHERNET_SIZE + IP6_SIZE + 8 * 20] = {[12] = 0x86, 0xdd, 0x60};
    Packet packet;
    put_be16(frame + 18, 8 * 20);
    frame[20] = 60; /* destination options in destination options */
    for (size_t i = 0; i < 20; i++)
        frame[54 + i * 8] = 60;
    CHECK_INT(parse(&packet, frame, sizeof(frame)), SWITCH_DROP_MALFORMED);
    frame[54] = 59; /* nothing behind it */
    CHECK_INT(parse(&packet, frame, sizeof(frame)), DROP_NONE);
    frame[55] = 200; /* longer than all */
    CHECK_INT(parse(&packet, frame, sizeof(frame)), SWITCH_DROP_MALFORMED);
}

static void test_checksums_are_corrected(void) {
    uint8_t data[64];
    srand(1);
    for (int round = 0; round < 1000; round++) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)rand();
        put_be16(data, 0);
        put_be16(data, checksum(data, sizeof(data), 0));
        uint8_t after[6] = {(uint8_t)rand(), (uint8_t)rand(), (uint8_t)rand(), 1, 2, 3};
        checksum_replace(data, data + 20, after, sizeof(after));
        memcpy(data + 20, after, sizeof(after));
        uint16_t sum = checksum(data, sizeof(data), 0);
        CHECK(sum == 0 || sum == 0xffff);
    }
}

static void test_link_local(void) {
    static const uint8_t mac[] = {0x52, 0x54, 0, 1, 2, 3};
    static const uint8_t expected[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 1, 2, 3};
    uint8_t address[16];
    link_local_of(mac, address);
    CHECK(memcmp(address, expected, sizeof(address)) == 0);
}

int main(void) {
    RUN(test_a_datagram);
    RUN(test_cut_off_anywhere);
    RUN(test_each_bit_turned);
    RUN(test_extension_headers_end);
    RUN(test_checksums_are_corrected);
    RUN(test_link_local);
    return 0;
}
