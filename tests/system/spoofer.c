/* SPDX-License-Identifier: Apache-2.0 */

/* What a hostile guest may send, and what a neighbour hears of it; runs in guests (networks.py).
 *
 *   spoofer send MAC IP     frames to the station with that MAC and IP address, each with a forged
 *                           source of another kind, and at last an honest one
 *   spoofer flood MAC IP    until it is killed: broadcasts, multicasts, frames to a station that is
 *                           not there and to that one, as fast as the card takes them
 *   spoofer listen          prints "ready", and the name of each frame that arrives, up to "honest"
 *   spoofer echo            sends each datagram to its port back to where it came from
 */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CARD "eth0"
#define PORT 7000
#define NAME_SIZE 16

typedef struct Datagram {
    struct ether_header ethernet;
    uint8_t ip[20];
    uint8_t udp[8];
    char name[NAME_SIZE];
} __attribute__((packed)) Datagram;

typedef struct Arp {
    struct ether_header ethernet;
    struct ether_arp arp;
    char name[NAME_SIZE];
} __attribute__((packed)) Arp;

#define ROUTER_ADVERTISEMENT 134 /* RFC 4861 */
#define NEIGHBOR_ADVERTISEMENT 136

typedef struct Advertisement {
    struct ether_header ethernet;
    uint8_t ip[40];
    uint8_t icmp[32];
} __attribute__((packed)) Advertisement;

static const uint8_t foreign_target[16] = {0xfd, [14] = 0xba, 0xd};
static int card;
static uint8_t own_mac[6], own_ip[4];

static void die(const char *what) {
    fprintf(stderr, "spoofer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_card(void) {
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct ifreq request = {0};
    if (fd < 0)
        die("socket");
    strcpy(request.ifr_name, CARD);
    if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
        die("index");
    card = request.ifr_ifindex;
    if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
        die("hardware address");
    memcpy(own_mac, request.ifr_hwaddr.sa_data, 6);
    int inet = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(inet, SIOCGIFADDR, &request) < 0)
        die("address");
    memcpy(own_ip, (uint8_t *)&request.ifr_addr + 4, 4);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = card};
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("bind");
    return fd;
}

static uint16_t checksum(const uint8_t *data, size_t size) {
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += (uint32_t)(data[i] << 8 | data[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static Datagram make(const char *name, const uint8_t *to_mac, const uint8_t *to_ip) {
    Datagram frame = {.ip = {0x45}};
    uint16_t length = sizeof(frame) - sizeof(frame.ethernet), sum;
    memcpy(frame.ethernet.ether_dhost, to_mac, 6);
    memcpy(frame.ethernet.ether_shost, own_mac, 6);
    frame.ethernet.ether_type = htons(ETHERTYPE_IP);
    frame.ip[2] = (uint8_t)(length >> 8);
    frame.ip[3] = (uint8_t)length;
    frame.ip[8] = 64;
    frame.ip[9] = IPPROTO_UDP;
    memcpy(&frame.ip[12], own_ip, 4);
    memcpy(&frame.ip[16], to_ip, 4);
    frame.udp[2] = PORT >> 8;
    frame.udp[3] = PORT & 0xff;
    frame.udp[5] = sizeof(frame.udp) + NAME_SIZE; /* checksum 0: none */
    strncpy(frame.name, name, NAME_SIZE - 1);
    sum = checksum(frame.ip, sizeof(frame.ip));
    frame.ip[10] = (uint8_t)(sum >> 8);
    frame.ip[11] = (uint8_t)sum;
    return frame;
}

static void change_source(Datagram *frame, const uint8_t *ip) {
    frame->ip[10] = frame->ip[11] = 0;
    memcpy(&frame->ip[12], ip, 4);
    uint16_t sum = checksum(frame->ip, sizeof(frame->ip));
    frame->ip[10] = (uint8_t)(sum >> 8);
    frame->ip[11] = (uint8_t)sum;
}

static void transmit(int fd, const void *frame, size_t size) {
    if (send(fd, frame, size, 0) != (ssize_t)size)
        die("send");
}

static void send_arp(int fd, const char *name, const uint8_t *mac, const uint8_t *ip) {
    Arp frame = {.ethernet.ether_type = htons(ETHERTYPE_ARP)};
    memset(frame.ethernet.ether_dhost, 0xff, 6);
    memcpy(frame.ethernet.ether_shost, own_mac, 6);
    frame.arp.ea_hdr =
        (struct arphdr){htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4, htons(ARPOP_REPLY)};
    memcpy(frame.arp.arp_sha, mac, 6);
    memcpy(frame.arp.arp_spa, ip, 4);
    memset(frame.arp.arp_tha, 0xff, 6);
    memcpy(frame.arp.arp_tpa, ip, 4);
    strncpy(frame.name, name, NAME_SIZE - 1);
    transmit(fd, &frame, sizeof(frame));
}

/* The tag comes between the addresses and the type. */
static void send_tagged(int fd, Datagram frame) {
    uint8_t tagged[sizeof(frame) + 4];
    const uint8_t tag[] = {0x81, 0x00, 0x00, 0x05};
    memcpy(tagged, &frame, 12);
    memcpy(tagged + 12, tag, 4);
    memcpy(tagged + 16, (uint8_t *)&frame + 12, sizeof(frame) - 12);
    transmit(fd, tagged, sizeof(tagged));
}

/* A router's advertisement, or that of a neighbour whose address is another's: to all stations,
 * from the address that the card makes of its MAC. */
static void send_advertisement(int fd, uint8_t type) {
    Advertisement frame = {.ethernet.ether_type = htons(ETHERTYPE_IPV6), .ip = {0x60}};
    const uint8_t from[16] = {0xfe, 0x80, [8] = own_mac[0] ^ 2, own_mac[1], own_mac[2],
                              0xff, 0xfe, own_mac[3],           own_mac[4], own_mac[5]};
    const uint8_t to[16] = {0xff, 2, [15] = 1}, to_mac[6] = {0x33, 0x33, [5] = 1};
    memcpy(frame.ethernet.ether_dhost, to_mac, 6);
    memcpy(frame.ethernet.ether_shost, own_mac, 6);
    frame.ip[5] = sizeof(frame.icmp);
    frame.ip[6] = IPPROTO_ICMPV6;
    frame.ip[7] = 255;
    memcpy(&frame.ip[8], from, 16);
    memcpy(&frame.ip[24], to, 16);
    frame.icmp[0] = type;
    memcpy(&frame.icmp[8], foreign_target, 16);
    frame.icmp[24] = 2; /* the sender's MAC */
    frame.icmp[25] = 1;
    memcpy(&frame.icmp[26], own_mac, 6);
    transmit(fd, &frame, sizeof(frame));
}

static void send_dhcp(int fd, Datagram frame) {
    frame.udp[0] = frame.udp[2] = 0;
    frame.udp[1] = 67;
    frame.udp[3] = 68;
    transmit(fd, &frame, sizeof(frame));
}

/* Too short to be taken apart; each cut of a whole one. */
static void send_runts(int fd, Datagram frame) {
    for (size_t size = sizeof(frame.ethernet); size < sizeof(frame) - NAME_SIZE; size++)
        transmit(fd, &frame, size);
}

/* More than a network's cards take: the card is told that it may. */
static void send_giant(int fd, Datagram frame) {
    static uint8_t giant[9014];
    struct ifreq request = {.ifr_mtu = 9000};
    strcpy(request.ifr_name, CARD);
    if (ioctl(fd, SIOCSIFMTU, &request) < 0)
        die("mtu");
    uint16_t size = sizeof(giant) - sizeof(frame.ethernet);
    frame.ip[2] = (uint8_t)(size >> 8);
    frame.ip[3] = (uint8_t)size;
    change_source(&frame, own_ip);
    memcpy(giant, &frame, sizeof(frame));
    memcpy(giant + sizeof(giant) - NAME_SIZE, frame.name, NAME_SIZE);
    transmit(fd, giant, sizeof(giant));
}

/* A full queue is what a flood is for. */
static void flood(int fd, const uint8_t *mac, const uint8_t *ip) {
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                         group[6] = {1, 0, 0x5e, 0, 0, 1},
                         nobody[6] = {0x52, 0x54, 0, 0xba, 0xd, 2};
    const uint8_t *const to[] = {all, group, nobody, mac};
    Datagram frame = make("flood", mac, ip);
    for (size_t i = 0;; i++) {
        memcpy(frame.ethernet.ether_dhost, to[i % 4], 6);
        (void)send(fd, &frame, sizeof(frame), 0);
    }
}

static void send_all(int fd, const uint8_t *mac, const uint8_t *ip) {
    static const uint8_t foreign_mac[6] = {0x52, 0x54, 0, 0xba, 0xd, 1};
    uint8_t foreign_ip[4], gateway[4];
    Datagram frame = make("forged-mac", mac, ip);
    memcpy(foreign_ip, own_ip, 4);
    memcpy(gateway, own_ip, 4);
    foreign_ip[3] = 200;
    gateway[3] = 1;
    memcpy(frame.ethernet.ether_shost, foreign_mac, 6);
    transmit(fd, &frame, sizeof(frame));
    frame = make("forged-ip", mac, ip);
    change_source(&frame, foreign_ip);
    transmit(fd, &frame, sizeof(frame));
    frame = make("forged-gateway", mac, ip);
    change_source(&frame, gateway);
    transmit(fd, &frame, sizeof(frame));
    send_arp(fd, "forged-arp-ip", own_mac, gateway);
    send_arp(fd, "forged-arp-mac", foreign_mac, own_ip);
    send_tagged(fd, make("tagged", mac, ip));
    send_dhcp(fd, make("forged-dhcp", mac, ip));
    send_advertisement(fd, ROUTER_ADVERTISEMENT);
    send_advertisement(fd, NEIGHBOR_ADVERTISEMENT);
    send_runts(fd, make("runt", mac, ip));
    send_giant(fd, make("giant", mac, ip));
    frame = make("honest", mac, ip);
    transmit(fd, &frame, sizeof(frame));
}

/* Advertisements have no room for a name. */
static void name_advertisement(uint8_t *bytes, ssize_t size) {
    const Advertisement *frame = (const Advertisement *)bytes;
    if (size == sizeof(*frame) && frame->ethernet.ether_type == htons(ETHERTYPE_IPV6) &&
        memcmp(&frame->icmp[8], foreign_target, sizeof(foreign_target)) == 0)
        strcpy((char *)bytes + size - NAME_SIZE,
               frame->icmp[0] == ROUTER_ADVERTISEMENT ? "forged-ra" : "forged-nd");
}

/* The frames' names are their last bytes. */
static int listen_for_all(int fd) {
    uint8_t bytes[2048];
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct sockaddr_ll from;
        socklen_t length = sizeof(from);
        ssize_t size = recvfrom(fd, bytes, sizeof(bytes) - 1, 0, (struct sockaddr *)&from, &length);
        if (size < NAME_SIZE || from.sll_pkttype == PACKET_OUTGOING)
            continue;
        name_advertisement(bytes, size);
        const char *name = (const char *)bytes + size - NAME_SIZE;
        bytes[size] = '\0';
        if (strncmp(name, "forged", 6) != 0 && strcmp(name, "tagged") != 0 &&
            strcmp(name, "giant") != 0 && strcmp(name, "honest") != 0)
            continue;
        puts(name);
        fflush(stdout);
        if (strcmp(name, "honest") == 0)
            return 0;
    }
}

static int echo(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    char bytes[2048];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("cannot listen");
    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof(from);
        ssize_t size = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);
        if (size >= 0)
            (void)sendto(fd, bytes, (size_t)size, 0, (struct sockaddr *)&from, length);
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "echo") == 0)
        return echo();
    int fd = open_card();
    uint8_t mac[6], ip[4];
    if (argc == 2 && strcmp(argv[1], "listen") == 0)
        return listen_for_all(fd);
    if (argc != 4 || (strcmp(argv[1], "send") != 0 && strcmp(argv[1], "flood") != 0) ||
        sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
               &mac[4], &mac[5]) != 6 ||
        inet_pton(AF_INET, argv[3], ip) != 1)
        return 2;
    (strcmp(argv[1], "flood") == 0 ? flood : send_all)(fd, mac, ip);
    return 0;
}
