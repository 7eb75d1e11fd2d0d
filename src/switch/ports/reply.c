/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/reply.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/util.h"
#include "switch/frame/buffer.h"
#include "switch/ports/deliver.h"

#define TIME_TO_LIVE 64
#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

static Buffer *start_frame(Port *port, uint16_t ethertype, size_t size) {
    Switch *net = port->owner;
    if (size > FRAME_MAX)
        return NULL;
    Buffer *buffer = buffer_take(&net->pool, SLOT_GATEWAY);
    if (!buffer)
        return NULL;
    buffer->size = (uint16_t)size;
    memset(buffer->data, 0, size);
    memcpy(buffer->data, port->lease.mac, 6);
    memcpy(buffer->data + 6, net->network.gateway_mac, 6);
    put_be16(buffer->data + 12, ethertype);
    return buffer;
}

static void send_frame(Port *port, Buffer *buffer) {
    deliver(port->owner, buffer, port->slot, STAGE_PORT_IN);
}

/* ---- IP headers ---- */

static size_t ip_size(uint16_t ethertype) {
    return ethertype == ETHERTYPE_IP4 ? IP4_SIZE : IP6_SIZE;
}

static size_t address_size(uint16_t ethertype) {
    return ethertype == ETHERTYPE_IP4 ? 4 : 16;
}

static void put_ip4(uint8_t *ip, const uint8_t *src, const uint8_t *dst, uint8_t protocol,
                    size_t size) {
    ip[0] = 0x45;
    put_be16(ip + 2, (uint16_t)(IP4_SIZE + size));
    put_be16(ip + 6, 0x4000); /* not to be fragmented, so that the identification may be 0 */
    ip[8] = TIME_TO_LIVE;
    ip[9] = protocol;
    memcpy(ip + 12, src, 4);
    memcpy(ip + 16, dst, 4);
    put_be16(ip + 10, checksum(ip, IP4_SIZE, 0));
}

static void put_ip6(uint8_t *ip, const uint8_t *src, const uint8_t *dst, uint8_t protocol,
                    size_t size, uint8_t hops) {
    ip[0] = 0x60;
    put_be16(ip + 4, (uint16_t)size);
    ip[6] = protocol;
    ip[7] = hops;
    memcpy(ip + 8, src, 16);
    memcpy(ip + 24, dst, 16);
}

/* A frame with room for `size` bytes behind its IP header; *inner is where they go. */
static Buffer *start_ip(Port *port, uint16_t ethertype, const uint8_t *src, const uint8_t *dst,
                        uint8_t protocol, size_t size, uint8_t **inner) {
    Buffer *buffer = start_frame(port, ethertype, ETHERNET_SIZE + ip_size(ethertype) + size);
    if (!buffer)
        return NULL;
    uint8_t *ip = buffer->data + ETHERNET_SIZE;
    if (ethertype == ETHERTYPE_IP4)
        put_ip4(ip, src, dst, protocol, size);
    else
        put_ip6(ip, src, dst, protocol, size, protocol == PROTOCOL_ICMP6 ? 255 : TIME_TO_LIVE);
    *inner = ip + ip_size(ethertype);
    return buffer;
}

static void put_sum(uint8_t *sum, uint16_t ethertype, const uint8_t *src, const uint8_t *dst,
                    uint8_t protocol, const uint8_t *inner, size_t size) {
    uint32_t pseudo = pseudo_sum(src, dst, address_size(ethertype), protocol, size);
    uint16_t value = checksum(inner, size, protocol == PROTOCOL_ICMP ? 0 : pseudo);
    put_be16(sum, value == 0 && protocol == PROTOCOL_UDP ? 0xffff : value);
}

/* ---- ARP and ND ---- */

void reply_arp(Port *port, const Packet *request, const uint8_t mac[6]) {
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 2};
    Buffer *buffer = start_frame(port, ETHERTYPE_ARP, ETHERNET_SIZE + ARP_SIZE);
    if (!buffer)
        return;
    uint8_t *arp = buffer->data + ETHERNET_SIZE;
    memcpy(buffer->data + 6, mac, 6);
    memcpy(arp, head, sizeof(head));
    memcpy(arp + 8, mac, 6);
    memcpy(arp + 14, request->dst, 4);
    memcpy(arp + 18, port->lease.mac, 6);
    memcpy(arp + 24, request->src, 4);
    send_frame(port, buffer);
}

void reply_neighbor(Port *port, const Packet *solicitation, const uint8_t mac[6], bool router) {
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    const uint8_t *target = solicitation->inner + 8;
    bool detection = is_unset(solicitation->src, 16); /* of a duplicate address: tell everybody */
    const uint8_t *to = detection ? all_nodes : solicitation->src;
    uint8_t *nd;
    Buffer *buffer = start_ip(port, ETHERTYPE_IP6, target, to, PROTOCOL_ICMP6, 32, &nd);
    if (!buffer)
        return;
    memcpy(buffer->data + 6, mac, 6);
    nd[0] = ND_ADVERTISEMENT;
    nd[4] = (uint8_t)((router ? 0x80 : 0) | (detection ? 0 : 0x40) | 0x20); /* R, S, O */
    memcpy(nd + 8, target, 16);
    nd[24] = 2;
    nd[25] = 1;
    memcpy(nd + 26, mac, 6);
    put_sum(nd + 2, ETHERTYPE_IP6, target, to, PROTOCOL_ICMP6, nd, 32);
    send_frame(port, buffer);
}

/* ---- echo ---- */

void reply_echo(Port *port, const Packet *request) {
    uint8_t *echo;
    size_t size = request->inner_size;
    Buffer *buffer = start_ip(port, request->ethertype, request->dst, request->src,
                              request->protocol, size, &echo);
    if (!buffer)
        return;
    memcpy(echo, request->inner, size);
    echo[0] = request->protocol == PROTOCOL_ICMP ? 0 : ICMP6_ECHO_REPLY;
    put_be16(echo + 2, 0);
    put_sum(echo + 2, request->ethertype, request->dst, request->src, request->protocol, echo,
            size);
    send_frame(port, buffer);
}

/* ---- TCP ---- */

/* Sequence numbers that the segment takes. */
static uint32_t segment_length(const Packet *segment) {
    const uint8_t *tcp = segment->inner;
    uint32_t flags = tcp[13];
    return (uint32_t)(segment->inner_size - (size_t)(tcp[12] >> 4) * 4) +
           (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
}

void reply_reset(Port *port, const Packet *segment) {
    const uint8_t *tcp = segment->inner;
    uint8_t *reset;
    if (tcp[13] & TCP_RST)
        return;
    Buffer *buffer = start_ip(port, segment->ethertype, segment->dst, segment->src, PROTOCOL_TCP,
                              TCP_SIZE, &reset);
    if (!buffer)
        return;
    memcpy(reset, tcp + 2, 2);
    memcpy(reset + 2, tcp, 2);
    reset[12] = TCP_SIZE / 4 << 4;
    reset[13] = TCP_RST;
    if (tcp[13] & TCP_ACK) {
        memcpy(reset + 4, tcp + 8, 4);
    } else {
        put_be32(reset + 8, get_be32(tcp + 4) + segment_length(segment));
        reset[13] |= TCP_ACK;
    }
    put_sum(reset + 16, segment->ethertype, segment->dst, segment->src, PROTOCOL_TCP, reset,
            TCP_SIZE);
    send_frame(port, buffer);
}

/* ---- UDP ---- */

void udp_peer(UdpPeer *peer, const Packet *request) {
    *peer = (UdpPeer){.ethertype = request->ethertype};
    memcpy(peer->guest, request->src, address_size(request->ethertype));
    memcpy(peer->gateway, request->dst, address_size(request->ethertype));
    memcpy(peer->guest_port, request->inner, 2);
    memcpy(peer->gateway_port, request->inner + 2, 2);
}

/* Where the host's bridge passes the frames. */
static void send_datagram(const Switch *net, const UdpPeer *peer, const uint8_t *data,
                          size_t size) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    memcpy(&to.sin_addr, peer->guest, sizeof(to.sin_addr));
    memcpy(&to.sin_port, peer->guest_port, sizeof(to.sin_port));
    (void)sendto(net->names.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
                 sizeof(to));
}

void reply_udp_to(Port *port, const UdpPeer *peer, const uint8_t *data, size_t size) {
    uint8_t *udp;
    if (port->owner->names.fd >= 0) {
        send_datagram(port->owner, peer, data, size);
        return;
    }
    Buffer *buffer = start_ip(port, peer->ethertype, peer->gateway, peer->guest, PROTOCOL_UDP,
                              UDP_SIZE + size, &udp);
    if (!buffer)
        return;
    memcpy(udp, peer->gateway_port, 2);
    memcpy(udp + 2, peer->guest_port, 2);
    put_be16(udp + 4, (uint16_t)(UDP_SIZE + size));
    memcpy(udp + UDP_SIZE, data, size);
    put_sum(udp + 6, peer->ethertype, peer->gateway, peer->guest, PROTOCOL_UDP, udp,
            UDP_SIZE + size);
    send_frame(port, buffer);
}

void reply_udp(Port *port, const Packet *request, const uint8_t *data, size_t size) {
    UdpPeer peer;
    udp_peer(&peer, request);
    reply_udp_to(port, &peer, data, size);
}
