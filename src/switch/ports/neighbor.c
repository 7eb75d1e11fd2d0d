/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/neighbor.h"

#include "switch/ports/check.h"
#include "switch/ports/reply.h"
#include "switch/ports/table.h"

/* The sibling that may be told of; NULL for an isolated one. */
static const Port *visible(const Port *port, const Port *sibling) {
    return sibling && (sibling == port || !port->owner->network.isolated) ? sibling : NULL;
}

static NeighborAction handle_arp(Port *port, const Packet *packet) {
    const Switch *net = port->owner;
    const uint8_t *wanted = packet->dst;
    bool announces = memcmp(packet->src, wanted, 4) == 0;
    if (get_be16(packet->ip + 6) != 1 || announces)
        return NEIGHBOR_FORWARD;
    if ((memcmp(wanted, net->network.gateway, 4) == 0 ||
         memcmp(wanted, names_ip(&net->network), 4) == 0) &&
        !is_unset(wanted, 4)) {
        reply_arp(port, packet, net->network.gateway_mac);
        return NEIGHBOR_DONE;
    }
    const Port *owner =
        memcmp(wanted, port->lease.ip, 4) == 0 ? port : visible(port, table_find_ip(net, wanted));
    if (owner && owner != port)
        reply_arp(port, packet, owner->lease.mac);
    return owner ? NEIGHBOR_DONE : NEIGHBOR_UNKNOWN;
}

static bool is_gateway6(const Switch *net, const uint8_t *address) {
    return memcmp(address, net->network.gateway6, 16) == 0 ||
           memcmp(address, net->gateway_link_local, 16) == 0;
}

static NeighborAction handle_solicitation(Port *port, const Packet *packet) {
    const Switch *net = port->owner;
    const uint8_t *target = packet->inner + 8;
    if (net->network.prefix6 && is_gateway6(net, target)) {
        reply_neighbor(port, packet, net->network.gateway_mac, true);
        return NEIGHBOR_DONE;
    }
    const Port *owner = visible(port, table_find_ip6(net, target));
    bool own = owner == port || memcmp(target, port->guest_link_local, 16) == 0;
    if (owner && !own)
        reply_neighbor(port, packet, owner->lease.mac, false);
    return owner || own ? NEIGHBOR_DONE : NEIGHBOR_UNKNOWN;
}

NeighborAction neighbor_handle(Port *port, const Packet *packet) {
    if (packet->ethertype == ETHERTYPE_ARP)
        return handle_arp(port, packet);
    if (!packet_is_nd(packet))
        return NEIGHBOR_FORWARD;
    if (packet->inner[0] == ND_SOLICITATION)
        return handle_solicitation(port, packet);
    if (packet->inner[0] == ND_ROUTER_SOLICITATION)
        return NEIGHBOR_DONE; /* addresses and routes come with the guest's identity */
    bool strange = port->translated && memcmp(packet->src, port->guest_link_local, 16) == 0;
    return strange ? NEIGHBOR_DONE : NEIGHBOR_FORWARD;
}
