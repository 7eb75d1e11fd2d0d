/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/packet.h"

/* Reading goes forward only, each step after its bound was checked. What the headers say and what
 * is there must agree; bytes after an IP datagram's end (Ethernet's padding) are not looked at. */

#define EXTENSIONS_MAX 8

static bool is_tagged(uint16_t ethertype) {
    return ethertype == 0x8100 || ethertype == 0x88a8 || ethertype == 0x9100;
}

/* The least that has to be there of a transport's header. */
static size_t least_inner(uint8_t protocol) {
    switch (protocol) {
    case PROTOCOL_TCP:
        return TCP_SIZE;
    case PROTOCOL_UDP:
    case PROTOCOL_ICMP:
        return UDP_SIZE;
    case PROTOCOL_ICMP6:
        return 4;
    default:
        return 0;
    }
}

static int set_inner(Packet *packet, uint8_t protocol, uint8_t *inner, const uint8_t *end) {
    size_t size = (size_t)(end - inner);
    if (size < least_inner(protocol))
        return packet->fragment ? SWITCH_DROP_MALFORMED : SWITCH_DROP_RUNT;
    if (protocol == PROTOCOL_TCP && ((inner[12] >> 4) < 5 || (size_t)(inner[12] >> 4) * 4 > size))
        return SWITCH_DROP_MALFORMED;
    if (protocol == PROTOCOL_UDP && !packet->fragment &&
        (get_be16(inner + 4) < UDP_SIZE || get_be16(inner + 4) > size))
        return SWITCH_DROP_MALFORMED;
    packet->protocol = protocol;
    packet->inner = inner;
    packet->inner_size = size;
    return DROP_NONE;
}

static int parse_ip4(Packet *packet, size_t room) {
    uint8_t *ip = packet->ip;
    if (room < IP4_SIZE)
        return SWITCH_DROP_RUNT;
    size_t header = (size_t)(ip[0] & 15) * 4, total = get_be16(ip + 2);
    if (ip[0] >> 4 != 4 || header < IP4_SIZE || total < header)
        return SWITCH_DROP_MALFORMED;
    if (total > room)
        return SWITCH_DROP_RUNT;
    unsigned fragment = get_be16(ip + 6), offset = fragment & 0x1fff;
    packet->src = ip + 12;
    packet->dst = ip + 16;
    packet->fragment = offset != 0 || fragment & 0x2000;
    if (offset == 1) /* would go over a transport's header that was looked at (RFC 3128) */
        return SWITCH_DROP_MALFORMED;
    return set_inner(packet, offset != 0 ? PROTOCOL_UNKNOWN : ip[9], ip + header, ip + total);
}

static bool is_extension(uint8_t next) {
    return next == 0 || next == 43 || next == 60; /* hop by hop, routing, destination options */
}

/* Goes over the extension headers; a fragment header ends that of all but the first fragment. */
static int parse_extensions(Packet *packet, uint8_t next, uint8_t *at, const uint8_t *end) {
    for (int i = 0; i < EXTENSIONS_MAX; i++) {
        size_t left = (size_t)(end - at), size;
        if (next != 44 && !is_extension(next))
            return set_inner(packet, next, at, end);
        if (left < 8)
            return SWITCH_DROP_MALFORMED;
        if (next == 44) {
            packet->fragment = true;
            next = get_be16(at + 2) & 0xfff8 ? PROTOCOL_UNKNOWN : at[0];
            size = 8;
        } else {
            size = ((size_t)at[1] + 1) * 8;
            next = at[0];
        }
        if (size > left)
            return SWITCH_DROP_MALFORMED;
        at += size;
    }
    return SWITCH_DROP_MALFORMED;
}

static int parse_ip6(Packet *packet, size_t room) {
    uint8_t *ip = packet->ip;
    if (room < IP6_SIZE)
        return SWITCH_DROP_RUNT;
    if (ip[0] >> 4 != 6)
        return SWITCH_DROP_MALFORMED;
    size_t total = IP6_SIZE + get_be16(ip + 4);
    if (total > room)
        return SWITCH_DROP_RUNT;
    packet->src = ip + 8;
    packet->dst = ip + 24;
    return parse_extensions(packet, ip[6], ip + IP6_SIZE, ip + total);
}

static int parse_arp(Packet *packet, size_t room) {
    static const uint8_t ethernet_ip4[] = {0, 1, 8, 0, 6, 4};
    if (room < ARP_SIZE)
        return SWITCH_DROP_RUNT;
    if (memcmp(packet->ip, ethernet_ip4, sizeof(ethernet_ip4)) != 0)
        return SWITCH_DROP_MALFORMED;
    packet->src = packet->ip + 14;
    packet->dst = packet->ip + 24;
    return DROP_NONE;
}

int packet_parse(Packet *packet, uint8_t *frame, size_t size) {
    if (size < ETHERNET_SIZE)
        return SWITCH_DROP_RUNT;
    *packet = (Packet){.frame = frame,
                       .size = size,
                       .ethertype = get_be16(frame + 12),
                       .ip = frame + ETHERNET_SIZE,
                       .protocol = PROTOCOL_UNKNOWN};
    size_t room = size - ETHERNET_SIZE;
    switch (packet->ethertype) {
    case ETHERTYPE_IP4:
        return parse_ip4(packet, room);
    case ETHERTYPE_IP6:
        return parse_ip6(packet, room);
    case ETHERTYPE_ARP:
        return parse_arp(packet, room);
    default:
        return is_tagged(packet->ethertype) ? SWITCH_DROP_VLAN : SWITCH_DROP_PROTOCOL;
    }
}

void link_local_of(const uint8_t mac[6], uint8_t address[16]) {
    const uint8_t made[16] = {
        0xfe,   0x80,   0,    0,    0,      0,      0,     0, (uint8_t)(mac[0] ^ 2),
        mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(address, made, sizeof(made));
}

static uint32_t add_up(const uint8_t *data, size_t size, uint32_t sum) {
    for (; size > 1; size -= 2, data += 2)
        sum += get_be16(data);
    return size > 0 ? sum + ((uint32_t)data[0] << 8) : sum;
}

static uint16_t fold(uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint16_t checksum(const uint8_t *data, size_t size, uint32_t sum) {
    return (uint16_t)~fold(add_up(data, size, sum));
}

uint32_t pseudo_sum(const uint8_t *src, const uint8_t *dst, size_t address_size, uint8_t protocol,
                    size_t length) {
    return add_up(dst, address_size, add_up(src, address_size, protocol + (uint32_t)length));
}

/* RFC 1624, equation 3. */
void checksum_replace(uint8_t *sum, const uint8_t *before, const uint8_t *after, size_t size) {
    uint32_t total = (uint16_t)~get_be16(sum);
    for (size_t i = 0; i < size; i += 2)
        total += (uint16_t)~get_be16(before + i) + (uint32_t)get_be16(after + i);
    put_be16(sum, (uint16_t)~fold(total));
}

void packet_replace_port(const Packet *packet, size_t at, const uint8_t port[2]) {
    checksum_replace(packet->inner + 16, packet->inner + at, port, 2);
    memcpy(packet->inner + at, port, 2);
}

static void replace_ip(const Packet *packet, uint8_t *at, const uint8_t ip[4]) {
    checksum_replace(packet->ip + 10, at, ip, 4);
    checksum_replace(packet->inner + 16, at, ip, 4);
    memcpy(at, ip, 4);
}

void packet_replace_source(const Packet *packet, const uint8_t ip[4]) {
    replace_ip(packet, packet->ip + 12, ip);
}

void packet_replace_destination(const Packet *packet, const uint8_t ip[4]) {
    replace_ip(packet, packet->ip + 16, ip);
}

bool packet_asks_for_lease(const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP4 && packet->protocol == PROTOCOL_UDP &&
           !packet->fragment && get_be16(packet->inner) == DHCP_CLIENT &&
           get_be16(packet->inner + 2) == DHCP_SERVER;
}

const uint8_t *names_ip(const SwitchNetwork *network) {
    return is_unset(network->dns, 4) ? network->gateway : network->dns;
}
