/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/uplink.h"

/* libslirp is made for poll(2): it names all of its descriptors, and then wants to hear which of
 * them are ready. Here they are in an epoll set of their own, which is one descriptor of the loop
 * and is brought up to date once a round, after libslirp did something; so frames between ports
 * cost nothing of that.
 *
 * It asks for guests' MACs by ARP and ND, and has room for 16 of them. What it is told does not
 * matter: whom a frame goes to is looked up by its IP address. Its router advertisements are
 * dropped. */

#include <errno.h>
#include <slirp/libslirp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "switch/frame/flows.h"
#include "switch/outside/uplink_filter.h"
#include "switch/ports/capture.h"
#include "switch/ports/deliver.h"
#include "switch/ports/limit.h"
#include "switch/ports/table.h"

#define EVENTS_PER_ROUND 64
#define ASKED_MAX 16

typedef struct Polled {
    uint32_t registered; /* with epoll; 0: not */
    uint32_t wanted;     /* in the last generation that named it */
    uint32_t generation;
    int ready; /* SLIRP_POLL_… */
} Polled;

typedef struct Asked {
    bool ip6;
    uint8_t address[16];
} Asked;

struct Uplink {
    Switch *net; /* borrowed */
    Slirp *slirp;
    Watched events; /* the epoll set */
    LoopSource *timer;
    bool dirty;     /* libslirp may wait for something else now */
    Polled *polled; /* owned, by descriptor */
    int n_polled;
    uint32_t generation;
    Asked asked[ASKED_MAX]; /* whom libslirp looks for */
    unsigned n_asked;
    uint8_t dns_port[2]; /* of the loopback, that is the gateway's DNS; 0: none */
    Flows flows;
};

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
        memcmp(packet->src, uplink->net->network.gateway, 4) == 0)
        packet_replace_port(packet, 0, port);
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
        Port *port =
            ip6 ? table_find_ip6(uplink->net, packet.dst) : table_find_ip(uplink->net, packet.dst);
        if (port)
            pass_on(uplink, &packet, port);
    }
    return (ssize_t)size;
}

/* ---- frames to libslirp ---- */

static void to_uplink(Switch *net, const Buffer *buffer) {
    Uplink *uplink = net->uplink;
    if (!uplink)
        return;
    slirp_input(uplink->slirp, buffer->data, buffer->size);
    uplink->dirty = true;
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
static bool tell_asked(Uplink *uplink) {
    bool any = uplink->n_asked > 0;
    for (unsigned i = 0; i < uplink->n_asked; i++) {
        const Asked *asked = &uplink->asked[i];
        const Port *port = asked->ip6 ? table_find_ip6(uplink->net, asked->address)
                                      : table_find_ip(uplink->net, asked->address);
        if (port && asked->ip6)
            tell_neighbor(uplink, port);
        else if (port)
            tell_arp(uplink, port);
    }
    uplink->n_asked = 0;
    return any;
}

/* ---- descriptors ---- */

static Polled *find_polled(Uplink *uplink, int fd) {
    if (fd >= uplink->n_polled) {
        int n = (fd + 64) & ~63;
        Polled *grown = realloc(uplink->polled, (size_t)n * sizeof(*grown));
        if (!grown)
            abort();
        memset(grown + uplink->n_polled, 0, (size_t)(n - uplink->n_polled) * sizeof(*grown));
        uplink->polled = grown;
        uplink->n_polled = n;
    }
    return &uplink->polled[fd];
}

static uint32_t to_epoll(int events) {
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0);
}

static int from_epoll(uint32_t events) {
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static void watch(const Uplink *uplink, int fd, Polled *polled, uint32_t wanted) {
    struct epoll_event event = {.events = wanted, .data.fd = fd};
    int operation = polled->registered ? (wanted ? EPOLL_CTL_MOD : EPOLL_CTL_DEL) : EPOLL_CTL_ADD;
    if (polled->registered == wanted)
        return;
    if (epoll_ctl(uplink->events.fd, operation, fd, &event) < 0 && wanted)
        log_warning("cannot wait for descriptor %d: %m", fd);
    polled->registered = wanted;
}

static int add_poll(int fd, int events, void *opaque) {
    Uplink *uplink = opaque;
    Polled *polled = find_polled(uplink, fd);
    polled->generation = uplink->generation;
    polled->wanted = to_epoll(events);
    return fd;
}

static int get_ready(int fd, void *opaque) {
    const Uplink *uplink = opaque;
    return fd >= 0 && fd < uplink->n_polled ? uplink->polled[fd].ready : 0;
}

/* A descriptor is new, or about to be closed: epoll forgets it by itself. */
static void forget_fd(int fd, void *opaque) {
    Uplink *uplink = opaque;
    Polled *polled = fd >= 0 ? find_polled(uplink, fd) : NULL;
    if (polled)
        watch(uplink, fd, polled, 0);
    uplink->dirty = true;
}

static void poll_slirp(Uplink *uplink) {
    struct epoll_event events[EVENTS_PER_ROUND];
    int n = epoll_wait(uplink->events.fd, events, EVENTS_PER_ROUND, 0);
    for (int i = 0; i < n; i++)
        find_polled(uplink, events[i].data.fd)->ready = from_epoll(events[i].events);
    slirp_pollfds_poll(uplink->slirp, n < 0, get_ready, uplink);
    for (int i = 0; i < n; i++)
        uplink->polled[events[i].data.fd].ready = 0;
    uplink->dirty = true;
}

static void on_events(void *data, uint32_t events) {
    poll_slirp(data);
}

static void on_timer(void *data) {
    poll_slirp(data);
}

void uplink_settle(Switch *net) {
    Uplink *uplink = net->uplink;
    if (!uplink || !uplink->dirty)
        return;
    uint32_t timeout_ms = UINT32_MAX;
    bool again = tell_asked(uplink);
    uplink->dirty = false;
    uplink->generation++;
    slirp_pollfds_fill(uplink->slirp, &timeout_ms, add_poll, uplink);
    for (int fd = 0; fd < uplink->n_polled; fd++) {
        Polled *polled = &uplink->polled[fd];
        watch(uplink, fd, polled, polled->generation == uplink->generation ? polled->wanted : 0);
    }
    uint64_t now = clock_monotonic_usec();
    loop_set_timer(uplink->timer, again                      ? now
                                  : timeout_ms == UINT32_MAX ? UINT64_MAX
                                                             : now + timeout_ms * USEC_PER_MSEC);
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

static void notify(void *opaque) {
    ((Uplink *)opaque)->dirty = true;
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

/* libslirp insists on a name server and a first address for DHCP, both unused. */
static SlirpConfig config_of(const SwitchNetwork *network) {
    SlirpConfig config = {.version = 4,
                          .in_enabled = network->prefix != 0,
                          .in6_enabled = network->prefix6 != 0,
                          .vnetmask = mask_of(network->prefix),
                          .vprefix_len = (uint8_t)network->prefix6,
                          .if_mtu = network->mtu,
                          .if_mru = network->mtu,
                          .disable_dns = true,
                          .disable_dhcp = true};
    memcpy(&config.vnetwork, network->subnet, 4);
    memcpy(&config.vhost, network->gateway, 4);
    memcpy(&config.vprefix_addr6, network->subnet6, 16);
    memcpy(&config.vhost6, network->gateway6, 16);
    return config;
}

static void free_uplink(Uplink *uplink) {
    if (uplink->slirp)
        slirp_cleanup(uplink->slirp);
    watched_close(&uplink->events);
    uplink->timer = loop_remove(uplink->timer);
    free(uplink->polled);
    free(uplink);
}

int uplink_start(Switch *net, Error *error) {
    if (net->uplink)
        return 0;
    Uplink *made = calloc(1, sizeof(*made));
    if (!made)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "no memory for the uplink");
    SlirpConfig config = config_of(&net->network);
    made->net = net;
    made->dirty = true;
    made->events.fd = epoll_create1(EPOLL_CLOEXEC);
    if (made->events.fd < 0 ||
        watched_add(net->loop, &made->events, EPOLLIN, on_events, made) < 0) {
        int r = error_set_errno(error, errno, "cannot wait for the uplink's sockets");
        free_uplink(made);
        return r;
    }
    made->timer = loop_add_timer(net->loop, UINT64_MAX, on_timer, made);
    made->slirp = slirp_new(&config, &callbacks, made);
    if (!made->slirp) {
        free_uplink(made);
        return error_set(error, ERROR_FAILED, EINVAL, "libslirp does not take this network");
    }
    net->uplink = made;
    net->to_uplink = to_uplink;
    return 0;
}

void uplink_free(Switch *net) {
    if (net->uplink)
        free_uplink(net->uplink);
    net->uplink = NULL;
}

int uplink_check(const Switch *net, const Packet *packet) {
    return uplink_filter(net, net->uplink ? &net->uplink->flows : NULL, packet);
}

void uplink_set_dns(Switch *net, const uint8_t port[2]) {
    memcpy(net->uplink->dns_port, port, 2);
}

static bool is_socket(int fd, const struct sockaddr_in *address, int type) {
    struct sockaddr_in own = {.sin_family = AF_UNSPEC};
    socklen_t size = sizeof(own), type_size = sizeof(int);
    int own_type = 0;
    return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && own.sin_family == AF_INET &&
           own.sin_port == address->sin_port && own.sin_addr.s_addr == address->sin_addr.s_addr &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &own_type, &type_size) == 0 && own_type == type;
}

int uplink_find_socket(const Switch *net, const struct sockaddr_in *address, int type) {
    const Uplink *uplink = net->uplink;
    for (int fd = 0; fd < uplink->n_polled; fd++)
        if (uplink->polled[fd].registered && is_socket(fd, address, type))
            return fd;
    return -1;
}

Slirp *uplink_slirp(const Switch *net) {
    net->uplink->dirty = true;
    return net->uplink->slirp;
}
