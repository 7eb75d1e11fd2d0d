/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_PACKET_H
#define RAMET_SWITCH_FRAME_PACKET_H

/* A frame taken apart, and the numbers of its headers. Sources: IEEE 802.3 (Ethernet), RFC 826
 * (ARP), RFC 791 (IPv4), RFC 8200 (IPv6), RFC 4443 (ICMPv6), RFC 4861 (ND), RFC 9293 (TCP). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/switch.h"
#include "switch/frame/ip.h"

#define ETHERNET_SIZE 14
#define IP4_SIZE 20
#define IP6_SIZE 40
#define UDP_SIZE 8
#define TCP_SIZE 20
#define ARP_SIZE 28

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IP6 0x86dd

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ICMP6 58
#define PROTOCOL_UNKNOWN                                                     \
    255 /* a later fragment, or a header that says what comes next to nobody \
         */

#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ND_ROUTER_SOLICITATION 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137

#define DROP_NONE (-1) /* beside SwitchDrop: the frame may pass */

#define DHCP_SERVER 67
#define DHCP_CLIENT 68

typedef struct Packet {
    uint8_t *frame; /* borrowed */
    size_t size;
    uint16_t ethertype;
    uint8_t *ip;        /* the IP header, or the ARP message */
    const uint8_t *src; /* of IP: 4 or 16 bytes */
    const uint8_t *dst; /* likewise */
    uint8_t protocol;   /* of what is at `inner` */
    bool fragment;      /* one of several */
    uint8_t *inner;     /* the transport's header, all of it present */
    size_t inner_size;  /* up to the datagram's end */
} Packet;

/* Takes a frame apart. DROP_NONE, or the SwitchDrop that says what is wrong with it; what the
 * packet says then is of no use. Of a first fragment the whole chain of headers has to be there. */
int packet_parse(Packet *packet, uint8_t *frame, size_t size);

/* Destination and source addresses of the frame. */
static inline uint8_t *packet_to(const Packet *packet) {
    return packet->frame;
}
static inline uint8_t *packet_from(const Packet *packet) {
    return packet->frame + 6;
}

/* Numbers in network byte order. */
static inline uint16_t get_be16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t get_be32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}
static inline void put_be16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void put_be32(uint8_t *at, uint32_t value) {
    put_be16(at, (uint16_t)(value >> 16));
    put_be16(at + 2, (uint16_t)value);
}

/* fe80::/64 with the interface identifier that a MAC gives (RFC 4291, appendix A). */
void link_local_of(const uint8_t mac[6], uint8_t address[16]);

/* The Internet checksum (RFC 1071) as it stands in a header; sum: what was added up before, in host
 * order. */
uint16_t checksum(const uint8_t *data, size_t size, uint32_t sum);

/* What the pseudo header of a transport over IPv4 (size 4) or IPv6 (size 16) adds to its sum. */
uint32_t pseudo_sum(const uint8_t *src, const uint8_t *dst, size_t address_size, uint8_t protocol,
                    size_t length);

/* Does it ask for an address by DHCP (RFC 2131)? */
bool packet_asks_for_lease(const Packet *packet);

/* Where names are asked for by IPv4. */
const uint8_t *names_ip(const SwitchNetwork *network);

/* Changes the source's address of a TCP segment over IPv4, or the destination's. */
void packet_replace_source(const Packet *packet, const uint8_t ip[4]);
void packet_replace_destination(const Packet *packet, const uint8_t ip[4]);

/* Changes the source's (at 0) or the destination's (at 2) port of a TCP segment. */
void packet_replace_port(const Packet *packet, size_t at, const uint8_t port[2]);

/* Corrects the checksum at `sum` for bytes of an even size at an even place that changed. */
void checksum_replace(uint8_t *sum, const uint8_t *before, const uint8_t *after, size_t size);

#endif
