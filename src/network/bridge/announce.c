/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/announce.h"

#include <arpa/inet.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

#define ARP_REPLY 2
#define ADVERTISEMENT 136
#define OVERRIDE 0x20 /* what was known before is replaced */
#define HOP_LIMIT 255

static void read_mac(const char *text, uint8_t mac[6]) {
    (void)sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                 &mac[5]);
}

static void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

size_t announce_arp(const VmAddress *address, uint8_t frame[ANNOUNCE_ARP_SIZE]) {
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, ARP_REPLY}; /* Ethernet, IPv4 */
    uint8_t *arp = frame + ETH_HLEN;
    memset(frame, 0xff, 6);
    read_mac(address->mac, frame + 6);
    put16(frame + 12, ETHERTYPE_ARP);
    memcpy(arp, head, sizeof(head));
    memcpy(arp + 8, frame + 6, 6);
    memset(arp + 18, 0xff, 6);
    if (inet_pton(AF_INET, address->ip, arp + 14) != 1)
        return 0;
    memcpy(arp + 24, arp + 14, 4);
    return ANNOUNCE_ARP_SIZE;
}

/* Of the pseudo header (RFC 8200, 8.1) and the message. */
static unsigned checksum(const uint8_t *ip, const uint8_t *message, size_t size) {
    uint32_t sum = (uint32_t)size + IPPROTO_ICMPV6;
    for (size_t i = 8; i < 40; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    for (size_t i = 0; i < size; i += 2)
        sum += (uint32_t)(message[i] << 8 | message[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

size_t announce_nd(const VmAddress *address, uint8_t frame[ANNOUNCE_ND_SIZE]) {
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1}, to[6] = {0x33, 0x33, [5] = 1};
    const size_t size = ANNOUNCE_ND_SIZE - ETH_HLEN - 40;
    uint8_t *ip = frame + ETH_HLEN, *message = ip + 40;
    memset(frame, 0, ANNOUNCE_ND_SIZE);
    memcpy(frame, to, sizeof(to));
    read_mac(address->mac, frame + 6);
    put16(frame + 12, ETHERTYPE_IPV6);
    ip[0] = 0x60;
    put16(ip + 4, (unsigned)size);
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = HOP_LIMIT;
    if (inet_pton(AF_INET6, address->ip6, ip + 8) != 1)
        return 0;
    memcpy(ip + 24, all_nodes, sizeof(all_nodes));
    message[0] = ADVERTISEMENT;
    message[4] = OVERRIDE;
    memcpy(message + 8, ip + 8, 16);
    message[24] = 2; /* option: the target's MAC */
    message[25] = 1;
    memcpy(message + 26, frame + 6, 6);
    put16(message + 2, checksum(ip, message, size));
    return ANNOUNCE_ND_SIZE;
}

static void transmit(int fd, unsigned bridge, const uint8_t *frame, size_t size) {
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)bridge, .sll_halen = ETH_ALEN};
    memcpy(to.sll_addr, frame, ETH_ALEN);
    if (size > 0)
        (void)sendto(fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
                     sizeof(to));
}

void announce(unsigned bridge, const VmAddress *address) {
    _cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    uint8_t arp[ANNOUNCE_ARP_SIZE] = {0}, nd[ANNOUNCE_ND_SIZE] = {0};
    if (fd < 0 || bridge == 0)
        return;
    transmit(fd, bridge, arp, announce_arp(address, arp));
    transmit(fd, bridge, nd, announce_nd(address, nd));
}
