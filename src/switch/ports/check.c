/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/check.h"

#include "switch/ports/table.h"

/* A guest's MAC is compared as its card has it: translation comes after this. */

#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547

static bool is_own_mac(const Port *port, const uint8_t *mac) {
    return memcmp(mac, port->lease.guest_mac, 6) == 0;
}

/* A router may send what came to it from elsewhere, but not in the name of anybody here. */
static bool is_strangers_ip(const Port *port, const uint8_t *ip) {
    const Switch *net = port->owner;
    return port->lease.router && !is_unset(ip, 4) && !table_find_ip(net, ip) &&
           memcmp(ip, net->network.gateway, 4) != 0 && ip[0] < 224 && ip[0] != 127;
}

static bool is_strangers_ip6(const Port *port, const uint8_t *ip) {
    const Switch *net = port->owner;
    return port->lease.router && !is_unset(ip, 15) && ip[0] != 0xff &&
           !(ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) && !table_find_ip6(net, ip) &&
           memcmp(ip, net->network.gateway6, 16) != 0;
}

static bool is_own_ip(const Port *port, const uint8_t *ip) {
    return memcmp(ip, port->lease.ip, 4) == 0 && !is_unset(ip, 4);
}

static bool is_own_global(const Port *port, const uint8_t *ip) {
    return memcmp(ip, port->lease.ip6, 16) == 0 && !is_unset(ip, 16);
}

static bool has_ip6(const Port *port) {
    return !is_unset(port->lease.ip6, 16);
}

static bool is_own_link_local(const Port *port, const uint8_t *ip) {
    return memcmp(ip, port->guest_link_local, 16) == 0 && has_ip6(port);
}

/* ---- ARP ---- */

static int check_arp(const Port *port, const Packet *packet) {
    const uint8_t *arp = packet->ip;
    unsigned operation = get_be16(arp + 6);
    bool probe = operation == 1 && is_unset(packet->src, 4);
    if (operation != 1 && operation != 2)
        return SWITCH_DROP_MALFORMED;
    if (!is_own_mac(port, arp + 8) || (!probe && !is_own_ip(port, packet->src)))
        return SWITCH_DROP_SPOOFED_ARP;
    return DROP_NONE;
}

/* ---- IPv4 ---- */

/* Whoever answers as a DHCP server would take others in; and nobody answers a client but the uplink
 * of a port that is apart. */
static bool is_dhcp(const Packet *packet, uint16_t client, uint16_t server) {
    if (packet->protocol != PROTOCOL_UDP)
        return false;
    uint16_t from = get_be16(packet->inner), to = get_be16(packet->inner + 2);
    return from == server || to == client || (from == client && to == server);
}

static int check_ip4(const Port *port, const Packet *packet) {
    if (packet_asks_for_lease(packet) && port->owner->network.apart)
        return is_unset(packet->src, 4) || is_own_ip(port, packet->src) ? DROP_NONE
                                                                        : SWITCH_DROP_SPOOFED_IP;
    if (is_dhcp(packet, DHCP_CLIENT, DHCP_SERVER))
        return SWITCH_DROP_DHCP;
    return is_own_ip(port, packet->src) || is_strangers_ip(port, packet->src)
               ? DROP_NONE
               : SWITCH_DROP_SPOOFED_IP;
}

/* ---- IPv6 ---- */

bool packet_is_nd(const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP6 && packet->protocol == PROTOCOL_ICMP6 &&
           packet->inner[0] >= ND_ROUTER_SOLICITATION && packet->inner[0] <= ND_REDIRECT;
}

static size_t nd_fixed_size(uint8_t type) {
    return type == ND_ROUTER_SOLICITATION ? 8 : 24;
}

bool nd_each_mac(const Packet *packet, NdOptionHandler handler, void *data) {
    size_t fixed = nd_fixed_size(packet->inner[0]);
    if (packet->inner_size < fixed)
        return false;
    uint8_t *at = packet->inner + fixed;
    for (size_t left = packet->inner_size - fixed; left > 0;) {
        size_t size = left < 8 ? 0 : (size_t)at[1] * 8;
        if (size == 0 || size > left)
            return false;
        if (at[0] == 1 || at[0] == 2)
            handler(at + 2, data);
        at += size;
        left -= size;
    }
    return true;
}

typedef struct OwnMacs {
    const Port *port;
    bool all;
} OwnMacs;

static void see_mac(uint8_t *mac, void *data) {
    OwnMacs *own = data;
    own->all = own->all && is_own_mac(own->port, mac);
}

static bool may_advertise(const Port *port, const uint8_t *target) {
    return is_own_global(port, target) || is_own_link_local(port, target);
}

static int check_nd(const Port *port, const Packet *packet) {
    OwnMacs own = {.port = port, .all = true};
    uint8_t type = packet->inner[0];
    if (type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT)
        return SWITCH_DROP_ADVERTISEMENT;
    if (packet->ip[7] != 255 || packet->fragment || !nd_each_mac(packet, see_mac, &own))
        return SWITCH_DROP_MALFORMED;
    if (!own.all || (type == ND_ADVERTISEMENT && !may_advertise(port, packet->inner + 8)))
        return SWITCH_DROP_SPOOFED_ND;
    return DROP_NONE;
}

/* Without an address yet: duplicate address detection and the groups that it joins. */
static bool may_be_unspecified(const Packet *packet) {
    if (packet->protocol != PROTOCOL_ICMP6)
        return false;
    uint8_t type = packet->inner[0];
    return type == ND_SOLICITATION || type == ND_ROUTER_SOLICITATION || type == 131 ||
           type == 132 || type == 143;
}

/* A guest behind a translated MAC has the link-local address of another one, which is good for
 * nothing but asking the switch. */
static bool may_be_link_local(const Port *port, const Packet *packet) {
    return is_own_link_local(port, packet->src) &&
           (!port->translated || may_be_unspecified(packet) || packet_is_nd(packet));
}

static int check_ip6(const Port *port, const Packet *packet) {
    if (is_dhcp(packet, DHCP6_CLIENT, DHCP6_SERVER))
        return SWITCH_DROP_DHCP;
    bool nd = packet_is_nd(packet);
    int drop = nd ? check_nd(port, packet) : DROP_NONE;
    if (drop != DROP_NONE)
        return drop;
    if (is_own_global(port, packet->src) || may_be_link_local(port, packet) ||
        is_strangers_ip6(port, packet->src) ||
        (is_unset(packet->src, 16) && has_ip6(port) && may_be_unspecified(packet)))
        return DROP_NONE;
    return nd ? SWITCH_DROP_SPOOFED_ND : SWITCH_DROP_SPOOFED_IP6;
}

int check_frame(const Port *port, Packet *packet, uint8_t *frame, size_t size) {
    if (size >= ETHERNET_SIZE && !is_own_mac(port, frame + 6))
        return SWITCH_DROP_SPOOFED_MAC;
    int drop = packet_parse(packet, frame, size);
    if (drop != DROP_NONE)
        return drop;
    if (packet->ethertype == ETHERTYPE_ARP)
        return check_arp(port, packet);
    return packet->ethertype == ETHERTYPE_IP4 ? check_ip4(port, packet) : check_ip6(port, packet);
}
