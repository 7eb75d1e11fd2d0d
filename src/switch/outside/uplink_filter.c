/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/uplink_filter.h"

/* What may begin a conversation is decided by address. What goes on with one that came in through a
 * forward may pass in any case: TCP's further segments, which are refused behind this when nobody
 * knows of them, and UDP to whom a datagram came from. */

#include "switch/frame/closed_address.h"

#define TCP_SYN 2
#define TCP_ACK 16

static bool begins_tcp(const Packet *packet) {
    return packet->protocol == PROTOCOL_TCP && !packet->fragment &&
           (packet->inner[13] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static bool goes_on(const Flows *flows, const Packet *packet) {
    if (packet->fragment)
        return false;
    if (packet->protocol == PROTOCOL_TCP)
        return !begins_tcp(packet);
    return packet->protocol == PROTOCOL_UDP && flows_know(flows, packet->src, packet->dst, packet);
}

static bool is_gateway(const SwitchNetwork *network, const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP4 ? memcmp(packet->dst, network->gateway, 4) == 0
                                              : memcmp(packet->dst, network->gateway6, 16) == 0;
}

static bool is_inside(const SwitchNetwork *network, const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP4
               ? in_prefix(packet->dst, network->subnet, network->prefix)
               : in_prefix(packet->dst, network->subnet6, network->prefix6);
}

static bool is_unroutable(const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP4 ? is_unroutable_ip(packet->dst)
                                              : is_unroutable_ip6(packet->dst);
}

static bool is_closed(const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP4 ? is_closed_ip(packet->dst)
                                              : is_closed_ip6(packet->dst);
}

bool uplink_filter_begins(const Flows *flows, const Packet *packet) {
    return !goes_on(flows, packet);
}

int uplink_filter(const Port *port, const Flows *flows, const Packet *packet) {
    const SwitchNetwork *network = &port->owner->network;
    bool allow_host = network->allow_host || port->lease.allow_host;
    if (flows && network->apart && packet_asks_for_lease(packet))
        return DROP_NONE;
    if (!flows || is_unroutable(packet))
        return SWITCH_DROP_UNREACHABLE;
    if (is_gateway(network, packet))
        return goes_on(flows, packet) || allow_host ? DROP_NONE : SWITCH_DROP_CLOSED;
    if (is_inside(network, packet))
        return SWITCH_DROP_UNREACHABLE;
    if (!allow_host && is_closed(packet))
        return SWITCH_DROP_CLOSED;
    return network->uplink || goes_on(flows, packet) ? DROP_NONE : SWITCH_DROP_UNREACHABLE;
}
