/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/announce.h"

#include "switch/frame/packet.h"
#include "switch/ports/deliver.h"

#define ND_SIZE 32

void announce_note(Switch *net, const SwitchPort *lease) {
    FormerLease *former = &net->former[net->n_former++ % FORMER_LEASES];
    memcpy(former->mac, lease->mac, sizeof(former->mac));
    memcpy(former->ip, lease->ip, sizeof(former->ip));
    memcpy(former->ip6, lease->ip6, sizeof(former->ip6));
}

/* Did another MAC have that address? */
static bool had_other(const Switch *net, const Port *port, bool ip6) {
    const SwitchPort *lease = &port->lease;
    bool other = false;
    for (size_t i = 0; i < FORMER_LEASES; i++) {
        const FormerLease *former = &net->former[i];
        bool same =
            ip6 ? memcmp(former->ip6, lease->ip6, 16) == 0 : memcmp(former->ip, lease->ip, 4) == 0;
        if (same && !is_unset(former->mac, 6))
            other |= memcmp(former->mac, lease->mac, 6) != 0;
    }
    return other;
}

static Buffer *start_frame(Switch *net, const Port *port, const uint8_t to[6], uint16_t ethertype,
                           size_t size) {
    Buffer *buffer = buffer_take(&net->pool, port->slot);
    if (!buffer)
        return NULL;
    buffer->size = (uint16_t)size;
    memset(buffer->data, 0, size);
    memcpy(buffer->data, to, 6);
    memcpy(buffer->data + 6, port->lease.mac, 6);
    put_be16(buffer->data + 12, ethertype);
    return buffer;
}

/* RFC 5227, section 3: a request for the own address. */
static void announce_arp(Switch *net, const Port *port) {
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 1};
    Buffer *buffer = start_frame(net, port, all, ETHERTYPE_ARP, ETHERNET_SIZE + ARP_SIZE);
    if (!buffer)
        return;
    uint8_t *arp = buffer->data + ETHERNET_SIZE;
    memcpy(arp, head, sizeof(head));
    memcpy(arp + 8, port->lease.mac, 6);
    memcpy(arp + 14, port->lease.ip, 4);
    memcpy(arp + 24, port->lease.ip, 4);
    deliver_to_all(net, buffer);
}

/* RFC 4861, section 7.2.6. */
static void announce_neighbor(Switch *net, const Port *port) {
    static const uint8_t all[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    Buffer *buffer = start_frame(net, port, all, ETHERTYPE_IP6, ETHERNET_SIZE + IP6_SIZE + ND_SIZE);
    if (!buffer)
        return;
    uint8_t *ip = buffer->data + ETHERNET_SIZE, *nd = ip + IP6_SIZE;
    ip[0] = 0x60;
    put_be16(ip + 4, ND_SIZE);
    ip[6] = PROTOCOL_ICMP6;
    ip[7] = 255;
    memcpy(ip + 8, port->lease.ip6, 16);
    memcpy(ip + 24, all_nodes, 16);
    nd[0] = ND_ADVERTISEMENT;
    nd[4] = 0x20; /* overrides */
    memcpy(nd + 8, port->lease.ip6, 16);
    nd[24] = 2;
    nd[25] = 1;
    memcpy(nd + 26, port->lease.mac, 6);
    put_be16(nd + 2,
             checksum(nd, ND_SIZE, pseudo_sum(ip + 8, ip + 24, 16, PROTOCOL_ICMP6, ND_SIZE)));
    deliver_to_all(net, buffer);
}

void announce(Switch *net, const Port *port) {
    if (net->network.isolated)
        return;
    if (!is_unset(port->lease.ip, 4) && had_other(net, port, false))
        announce_arp(net, port);
    if (!is_unset(port->lease.ip6, 16) && had_other(net, port, true))
        announce_neighbor(net, port);
}
