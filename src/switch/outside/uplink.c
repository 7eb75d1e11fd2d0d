/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/uplink.h"

/* Which of its descriptors are ready, and when it wants to be called, is the matter of polling.c.
 *
 * It asks for guests' MACs by ARP and ND, and has room for 16 of them. What it is told does not
 * matter: whom a frame goes to is looked up by its IP address. Its router advertisements are
 * dropped. */

#include <errno.h>
#include <slirp/libslirp.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "switch/frame/flows.h"
#include "switch/outside/polling.h"
#include "switch/outside/uplink_filter.h"
#include "switch/ports/capture.h"
#include "switch/ports/deliver.h"
#include "switch/ports/limit.h"
#include "switch/ports/table.h"

#define ASKED_MAX 16

typedef struct Asked {
    bool ip6;
    uint8_t address[16];
} Asked;

struct Uplink {
    Switch *net; /* borrowed */
    Port *port;  /* borrowed: whose it is; NULL: the network's */
    Slirp *slirp;
    Watched events;         /* the epoll set */
    Polling polling;        /* what libslirp waits for */
    Asked asked[ASKED_MAX]; /* whom libslirp looks for */
    unsigned n_asked;
    uint8_t dns_port[2]; /* of the loopback, that is the gateway's DNS; 0: none */
    Flows flows;
};

Outside *uplink_outside(Port *port) {
    Switch *net = port->owner;
    return net->network.apart ? &port->outside : &net->outside;
}

Uplink *uplink_of(const Port *port) {
    const Switch *net = port->owner;
    return net->network.apart ? port->outside.uplink : net->outside.uplink;
}

/* Whom libslirp means by an address. */
static Port *find_port(const Uplink *uplink, const uint8_t *address, bool ip6) {
    if (uplink->port)
        return uplink->port;
    return ip6 ? table_find_ip6(uplink->net, address) : table_find_ip(uplink->net, address);
}

/* ---- frames from libslirp ---- */

static void note_asked(Uplink *uplink, const uint8_t *address, bool ip6) {
    if (uplink->n_asked == ASKED_MAX)
        return;
    Asked *asked = &uplink->asked[uplink->n_asked++];
    asked->ip6 = ip6;
    memcpy(asked->address, address, ip6 ? 16 : 4);
}

static void restore_dns(const Uplink *uplink, const Packet *packet) {
    static const uint8_t port[2] = {0, 53};
    if (packet->ethertype == ETHERTYPE_IP4 && packet->protocol == PROTOCOL_TCP &&
        !packet->fragment && !is_unset(uplink->dns_port, 2) &&
        memcmp(packet->inner, uplink->dns_port, 2) == 0 &&
        memcmp(packet->src, uplink->net->network.gateway, 4) == 0) {
        packet_replace_port(packet, 0, port);
        packet_replace_source(packet, names_ip(&uplink->net->network));
    }
}

static void pass_on(Uplink *uplink, const Packet *packet, Port *port) {
    Switch *net = uplink->net;
    Buffer *buffer = buffer_take(&net->pool, SLOT_GATEWAY);
    if (!buffer)
        return; /* TCP sends it again */
    restore_dns(uplink, packet);
    limit_note(port, packet);
    if (packet->protocol == PROTOCOL_UDP)
        flows_note(&uplink->flows, packet->dst, packet->src, packet);
    buffer->size = (uint16_t)packet->size;
    memcpy(buffer->data, packet->frame, packet->size);
    memcpy(buffer->data, port->lease.mac, 6);
    memcpy(buffer->data + 6, net->network.gateway_mac, 6);
    capture_frame(net, NULL, CAPTURE_FROM_GUEST, buffer->data, buffer->size);
    deliver(net, buffer, port->slot, STAGE_NETWORK_IN);
}

static ssize_t send_packet(const void *data, size_t size, void *opaque) {
    Uplink *uplink = opaque;
    Packet packet;
    uint8_t frame[FRAME_MAX];
    if (size > sizeof(frame))
        return (ssize_t)size;
    memcpy(frame, data, size);
    if (packet_parse(&packet, frame, size) != DROP_NONE)
        return (ssize_t)size;
    bool ip6 = packet.ethertype == ETHERTYPE_IP6;
    if (packet.ethertype == ETHERTYPE_ARP)
        note_asked(uplink, packet.dst, false);
    else if (ip6 && packet.protocol == PROTOCOL_ICMP6 && packet.inner[0] == ND_SOLICITATION &&
             packet.inner_size >= 24)
        note_asked(uplink, packet.inner + 8, true);
    else {
        Port *port = find_port(uplink, packet.dst, ip6);
        if (port)
            pass_on(uplink, &packet, port);
    }
    return (ssize_t)size;
}

/* ---- frames to libslirp ---- */

static void to_uplink(Switch *net, const Buffer *buffer) {
    const Port *port = net->ports[buffer->source];
    Uplink *uplink = port ? uplink_of(port) : NULL;
    if (!uplink)
        return;
    slirp_input(uplink->slirp, buffer->data, buffer->size);
    polling_touch(&uplink->polling);
}

static void tell_arp(Uplink *uplink, const Port *port) {
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 2};
    const Switch *net = uplink->net;
    uint8_t frame[ETHERNET_SIZE + ARP_SIZE] = {0};
    uint8_t *arp = frame + ETHERNET_SIZE;
    memcpy(frame, net->network.gateway_mac, 6);
    memcpy(frame + 6, port->lease.mac, 6);
    put_be16(frame + 12, ETHERTYPE_ARP);
    memcpy(arp, head, sizeof(head));
    memcpy(arp + 8, port->lease.mac, 6);
    memcpy(arp + 14, port->lease.ip, 4);
    memcpy(arp + 18, net->network.gateway_mac, 6);
    memcpy(arp + 24, net->network.gateway, 4);
    slirp_input(uplink->slirp, frame, sizeof(frame));
}

static void tell_neighbor(Uplink *uplink, const Port *port) {
    const Switch *net = uplink->net;
    uint8_t frame[ETHERNET_SIZE + IP6_SIZE + 32] = {0};
    uint8_t *ip = frame + ETHERNET_SIZE, *nd = ip + IP6_SIZE;
    memcpy(frame, net->network.gateway_mac, 6);
    memcpy(frame + 6, port->lease.mac, 6);
    put_be16(frame + 12, ETHERTYPE_IP6);
    ip[0] = 0x60;
    put_be16(ip + 4, 32);
    ip[6] = PROTOCOL_ICMP6;
    ip[7] = 255;
    memcpy(ip + 8, port->lease.ip6, 16);
    memcpy(ip + 24, net->network.gateway6, 16);
    nd[0] = ND_ADVERTISEMENT;
    nd[4] = 0x60; /* asked for, overrides */
    memcpy(nd + 8, port->lease.ip6, 16);
    nd[24] = 2;
    nd[25] = 1;
    memcpy(nd + 26, port->lease.mac, 6);
    put_be16(nd + 2, checksum(nd, 32, pseudo_sum(ip + 8, ip + 24, 16, PROTOCOL_ICMP6, 32)));
    slirp_input(uplink->slirp, frame, sizeof(frame));
}

/* Answers what libslirp asked for. true: there was something, and it may have waited for it. */
static bool tell_asked(void *data) {
    Uplink *uplink = data;
    bool any = uplink->n_asked > 0;
    for (unsigned i = 0; i < uplink->n_asked; i++) {
        const Asked *asked = &uplink->asked[i];
        const Port *port = find_port(uplink, asked->address, asked->ip6);
        if (port && asked->ip6)
            tell_neighbor(uplink, port);
        else if (port)
            tell_arp(uplink, port);
    }
    uplink->n_asked = 0;
    return any;
}

/* ---- the rest of what libslirp calls ---- */

static int64_t clock_get_ns(void *opaque) {
    return (int64_t)(clock_monotonic_usec() * 1000);
}

static void guest_error(const char *message, void *opaque) {
    log_debug("uplink: %s", message);
}

/* Its only timer is that of router advertisements, which nobody needs. */
static void *timer_new(SlirpTimerId id, void *timer_opaque, void *opaque) {
    return opaque;
}

static void timer_free(void *timer, void *opaque) {
}

static void timer_mod(void *timer, int64_t expire_time, void *opaque) {
}

static void forget_fd(int fd, void *opaque) {
    polling_forget(&((Uplink *)opaque)->polling, fd);
}

static void notify(void *opaque) {
    polling_touch(&((Uplink *)opaque)->polling);
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new_opaque = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = forget_fd,
    .unregister_poll_fd = forget_fd,
    .notify = notify,
};

/* ---- begin and end ---- */

static struct in_addr mask_of(uint64_t bits) {
    return (struct in_addr){.s_addr = htonl((uint32_t)(UINT64_C(0xffffffff) << (32 - bits)))};
}

/* libslirp insists on a name server and a first address for DHCP. Both are unused but where a port
 * is apart: there it leases the port's address, and tells of the name server, which no frame to it
 * ever reaches. */
static SlirpConfig config_of(const SwitchNetwork *network, const Port *port) {
    SlirpConfig config = {.version = 4,
                          .in_enabled = network->prefix != 0,
                          .in6_enabled = network->prefix6 != 0,
                          .vnetmask = mask_of(network->prefix),
                          .vprefix_len = (uint8_t)network->prefix6,
                          .if_mtu = network->mtu,
                          .if_mru = network->mtu,
                          .disable_dns = !port,
                          .disable_dhcp = !port};
    memcpy(&config.vnetwork, network->subnet, 4);
    memcpy(&config.vhost, network->gateway, 4);
    memcpy(&config.vprefix_addr6, network->subnet6, 16);
    memcpy(&config.vhost6, network->gateway6, 16);
    if (port) {
        memcpy(&config.vnameserver, names_ip(network), 4);
        memcpy(&config.vdhcp_start, port->lease.ip, 4);
    }
    return config;
}

static void free_uplink(Uplink *uplink) {
    if (uplink->slirp)
        slirp_cleanup(uplink->slirp);
    polling_end(&uplink->polling);
    free(uplink);
}

static int make_uplink(Switch *net, Port *port, Uplink **uplink, Error *error) {
    SlirpConfig config = config_of(&net->network, port);
    Uplink *made = calloc(1, sizeof(*made));
    if (!made)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "no memory for the uplink");
    made->net = net;
    made->port = port;
    made->polling = (Polling){.before = tell_asked, .data = made, .events = {.fd = -1}};
    int r = polling_begin(&made->polling, net->uplinks);
    if (r < 0) {
        free_uplink(made);
        return error_set_errno(error, -r, "cannot wait for the uplink's sockets");
    }
    made->slirp = made->polling.slirp = slirp_new(&config, &callbacks, made);
    if (!made->slirp) {
        free_uplink(made);
        return error_set(error, ERROR_FAILED, EINVAL, "libslirp does not take this network");
    }
    *uplink = made;
    return 0;
}

static int start(Switch *net, Port *port, Outside *outside, Error *error) {
    int r = outside->uplink ? 0 : make_uplink(net, port, &outside->uplink, error);
    if (r == 0)
        net->to_uplink = to_uplink;
    return r;
}

int uplink_start(Switch *net, Error *error) {
    return net->network.apart ? 0 : start(net, NULL, &net->outside, error);
}

int uplink_start_of(Port *port, Error *error) {
    Switch *net = port->owner;
    return start(net, net->network.apart ? port : NULL, uplink_outside(port), error);
}

void uplink_free(Outside *outside) {
    if (outside->uplink)
        free_uplink(outside->uplink);
    outside->uplink = NULL;
}

/* A guest that opens ever more would leave its neighbours none. */
static bool has_its_share(const Uplink *uplink, const Packet *packet) {
    return uplink && uplink->port && uplink_filter_begins(&uplink->flows, packet) &&
           uplink->polling.n_fds >= uplinks_share(uplink->net->uplinks);
}

int uplink_check(Port *port, const Packet *packet) {
    const Uplink *uplink;
    if (port->owner->network.uplink && uplink_start_of(port, NULL) < 0)
        return SWITCH_DROP_UNREACHABLE;
    uplink = uplink_of(port);
    int reason = uplink_filter(port, uplink ? &uplink->flows : NULL, packet);
    return reason == DROP_NONE && has_its_share(uplink, packet) ? SWITCH_DROP_CONNECTIONS : reason;
}

void uplink_set_dns(Uplink *uplink, const uint8_t port[2]) {
    memcpy(uplink->dns_port, port, 2);
}

int uplink_find_socket(const Uplink *uplink, const struct sockaddr_in *address, int type) {
    return polling_find_socket(&uplink->polling, address, type);
}

Slirp *uplink_slirp(Uplink *uplink) {
    polling_touch(&uplink->polling);
    return uplink->slirp;
}
