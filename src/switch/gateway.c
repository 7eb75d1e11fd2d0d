/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/gateway.h"

#include "switch/outside/dns.h"
#include "switch/outside/dns_tcp.h"
#include "switch/outside/names.h"
#include "switch/outside/uplink.h"
#include "switch/ports/deliver.h"
#include "switch/ports/limit.h"
#include "switch/ports/port.h"
#include "switch/ports/reply.h"

static bool is_for_gateway(const Switch *net, const Packet *packet) {
    if (packet->ethertype == ETHERTYPE_IP4)
        return memcmp(packet->dst, net->network.gateway, 4) == 0 ||
               memcmp(packet->dst, names_ip(&net->network), 4) == 0;
    return memcmp(packet->dst, net->network.gateway6, 16) == 0 ||
           memcmp(packet->dst, net->gateway_link_local, 16) == 0;
}

static bool is_echo(const Packet *packet) {
    return (packet->protocol == PROTOCOL_ICMP && packet->ethertype == ETHERTYPE_IP4 &&
            packet->inner[0] == 8) ||
           (packet->protocol == PROTOCOL_ICMP6 && packet->inner[0] == ICMP6_ECHO);
}

static bool asks_for_names(const Switch *net, const Packet *packet) {
    return packet->protocol == PROTOCOL_UDP && get_be16(packet->inner + 2) == DNS_PORT &&
           (packet->ethertype == ETHERTYPE_IP6 ||
            memcmp(packet->dst, names_ip(&net->network), 4) == 0);
}

static void answer_dns(Port *port, const Packet *packet) {
    UdpPeer peer;
    udp_peer(&peer, packet);
    names_answer(port, &peer, packet->inner + UDP_SIZE,
                 get_be16(packet->inner + 4) - (size_t)UDP_SIZE);
}

/* true: it was for the switch itself. */
static bool answer_own(Port *port, const Packet *packet) {
    if (packet->fragment || !is_for_gateway(port->owner, packet))
        return false;
    if (is_echo(packet)) {
        reply_echo(port, packet);
        return true;
    }
    if (!asks_for_names(port->owner, packet))
        return false;
    answer_dns(port, packet);
    return true;
}

/* What cannot go out is refused where there is a way to say so, since nobody likes to wait. */
static void refuse(Port *port, const Packet *packet, SwitchDrop reason) {
    count_drop(port->owner, port->slot, reason);
    if (packet->protocol == PROTOCOL_TCP && !packet->fragment)
        reply_reset(port, packet);
}

void gateway_receive(Port *port, Buffer *buffer, const Packet *packet) {
    Switch *net = port->owner;
    bool done = packet->ethertype == ETHERTYPE_ARP || answer_own(port, packet);
    bool to_dns = !done && dns_tcp_redirect(port, packet);
    int reason = done || to_dns ? DROP_NONE : uplink_check(port, packet);
    if (!done && !to_dns && reason == DROP_NONE && !limit_admit(port, packet))
        reason = SWITCH_DROP_CONNECTIONS;
    if (reason != DROP_NONE)
        refuse(port, packet, (SwitchDrop)reason);
    if (done || reason != DROP_NONE)
        buffer_release(&net->pool, buffer);
    else
        deliver(net, buffer, SLOT_GATEWAY, STAGE_NETWORK_OUT);
}
