/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/requests.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "switch/frame/packet.h"
#include "switch/ingress.h"
#include "switch/network.h"
#include "switch/outside/forwards.h"
#include "switch/outside/names.h"
#include "switch/outside/uplink.h"
#include "switch/ports/announce.h"
#include "switch/ports/capture.h"
#include "switch/ports/deliver.h"
#include "switch/ports/limit.h"
#include "switch/ports/port.h"
#include "switch/ports/table.h"

#define MTU 1500

/* What an operation answers with. */
typedef struct Reply {
    SwitchMessage message;
    unsigned parts;
    uint8_t *buffer; /* borrowed; items are put there at once, behind a bare header */
    size_t room;
    size_t size; /* with items; 0: there are none */
} Reply;

typedef int (*Operation)(Switch *net, Request *request, Reply *reply, Error *error);

/* ---- the network ---- */

static int bad_network(Error *error, const char *why) {
    return error_set(error, ERROR_USAGE, EINVAL, "the network's %s", why);
}

static int check_ip4(const SwitchNetwork *network, Error *error) {
    if (network->prefix == 0)
        return is_unset(network->subnet, 4) ? 0 : bad_network(error, "IPv4 subnet has no prefix");
    if (network->prefix < 8 || network->prefix > 30)
        return bad_network(error, "IPv4 prefix is not within 8 and 30");
    return in_prefix(network->gateway, network->subnet, network->prefix) &&
                   in_prefix(names_ip(network), network->subnet, network->prefix)
               ? 0
               : bad_network(error, "gateway or name server is not in its IPv4 subnet");
}

static int check_ip6(const SwitchNetwork *network, Error *error) {
    if (network->prefix6 == 0)
        return is_unset(network->subnet6, 16) ? 0 : bad_network(error, "IPv6 subnet has no prefix");
    if (network->prefix6 < 48 || network->prefix6 > 120)
        return bad_network(error, "IPv6 prefix is not within 48 and 120");
    return in_prefix(network->gateway6, network->subnet6, network->prefix6)
               ? 0
               : bad_network(error, "gateway is not in its IPv6 subnet");
}

static bool same_addresses(const SwitchNetwork *a, const SwitchNetwork *b) {
    return a->prefix == b->prefix && a->prefix6 == b->prefix6 && a->mtu == b->mtu &&
           memcmp(a->subnet, b->subnet, 4) == 0 && memcmp(a->gateway, b->gateway, 4) == 0 &&
           memcmp(a->subnet6, b->subnet6, 16) == 0 && memcmp(a->gateway6, b->gateway6, 16) == 0 &&
           memcmp(a->dns, b->dns, 4) == 0 && a->apart == b->apart &&
           memcmp(a->gateway_mac, b->gateway_mac, 6) == 0;
}

static int check_network(const Switch *net, const SwitchNetwork *network, Error *error) {
    if (!network->name[0] || network->mtu < 1280 || network->mtu > MTU)
        return bad_network(error, "name is empty, or its MTU not within 1280 and 1500");
    if (is_unset(network->gateway_mac, 6) || network->gateway_mac[0] & 1)
        return bad_network(error, "gateway has no MAC of one card");
    if (network->apart && !network->isolated)
        return bad_network(error, "ports cannot be apart, and not isolated");
    int r = check_ip4(network, error);
    if (r == 0)
        r = check_ip6(network, error);
    if (r < 0)
        return r;
    if (net->configured && (net->slots > 1 || net->outside.uplink) &&
        !same_addresses(network, &net->network))
        return error_set(error, ERROR_CONFLICT, EBUSY,
                         "a network in use keeps its addresses and MTU");
    return 0;
}

static int set_network(Switch *net, Request *request, Reply *reply, Error *error) {
    SwitchNetwork *network = &request->message.network;
    if (network->mtu == 0)
        network->mtu = MTU;
    int r = check_network(net, network, error);
    if (r < 0)
        return r;
    net->network = *network;
    net->configured = true;
    net->pool.shares[0] = network->apart ? BUFFER_COUNT - BATCH : BUFFER_SHARE;
    link_local_of(network->gateway_mac, net->gateway_link_local);
    return network->uplink ? uplink_start(net, error) : 0;
}

static void add_counters(SwitchCounters *sum, const SwitchCounters *counters) {
    sum->sent_frames += counters->sent_frames;
    sum->sent_bytes += counters->sent_bytes;
    sum->received_frames += counters->received_frames;
    sum->received_bytes += counters->received_bytes;
    for (size_t i = 0; i < SWITCH_DROP_COUNT; i++)
        sum->drops[i] += counters->drops[i];
}

static int get_network(Switch *net, Request *request, Reply *reply, Error *error) {
    SwitchMessage *message = &reply->message;
    message->network = net->network;
    message->counters = net->counters;
    message->impair = (SwitchImpair){.out = net->shape_out.set, .in = net->shape_in.set};
    message->held = net->held;
    for (uint16_t slot = 1; slot < net->slots; slot++)
        if (net->ports[slot])
            add_counters(&message->counters, &net->ports[slot]->counters);
    reply->parts =
        SWITCH_PART_NETWORK | SWITCH_PART_COUNTERS | SWITCH_PART_IMPAIR | SWITCH_PART_PLAIN;
    return 0;
}

/* ---- ports ---- */

static int find_port(const Switch *net, const char *id, Port **port, Error *error) {
    *port = table_find_id(net, id);
    return *port ? 0 : error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no port %s", id);
}

static bool is_elsewhere(const SwitchPort *now, const SwitchPort *before) {
    return memcmp(now->mac, before->mac, sizeof(now->mac)) != 0 ||
           memcmp(now->ip, before->ip, sizeof(now->ip)) != 0 ||
           memcmp(now->ip6, before->ip6, sizeof(now->ip6)) != 0;
}

/* What others are to know of a change. */
static int lease_changed(Switch *net, const Port *port, const SwitchPort *before, Error *error) {
    bool known = before->id[0] != '\0';
    if (known && !is_elsewhere(&port->lease, before))
        return 0;
    if (known)
        announce_note(net, before);
    announce(net, port);
    return known && memcmp(before->ip, port->lease.ip, sizeof(before->ip)) != 0
               ? forwards_renew_to(net, before->id, error)
               : 0;
}

static void shape_port(Port *port, const SwitchMessage *message) {
    shaper_set(&port->shape_out, &message->impair.out);
    shaper_set(&port->shape_in, &message->impair.in);
    limit_set(port, &message->limit);
}

static int set_port(Switch *net, Request *request, Reply *reply, Error *error) {
    const SwitchPort *lease = &request->message.port;
    const Port *known = table_find_id(net, lease->id);
    const SwitchPort before = known ? known->lease : (SwitchPort){.id = ""};
    Port *port;
    int r = port_set(net, lease, request->fd, ingress_shaped, error);
    if (r < 0)
        return r;
    request->fd = -1; /* the port's now */
    port = table_find_id(net, lease->id);
    if (!known)
        shape_port(port, &request->message);
    return lease_changed(net, port, &before, error);
}

static int remove_port(Switch *net, Request *request, Reply *reply, Error *error) {
    Port *port;
    int r = find_port(net, request->message.id, &port, error);
    if (r < 0)
        return r;
    forwards_remove_to(net, port->lease.id);
    announce_note(net, &port->lease);
    network_remove_port(port);
    return 0;
}

/* Puts an item behind those that are there; false when it has to wait for the next request. */
static bool add_item(Reply *reply, const SwitchMessage *item, unsigned parts) {
    SwitchMessage bare = {.number = SWITCH_OK};
    if (reply->size == 0)
        reply->size = (size_t)switch_message_write(&bare, 0, reply->buffer, reply->room);
    int size = switch_message_add_item(reply->buffer, reply->size, reply->room, item, parts);
    if (size < 0)
        return false;
    reply->size = (size_t)size;
    return true;
}

static const Port *next_port(const Switch *net, uint64_t after) {
    const Port *next = NULL;
    for (uint16_t slot = 1; slot < net->slots; slot++) {
        const Port *port = net->ports[slot];
        if (port && port->lease.serial > after &&
            (!next || port->lease.serial < next->lease.serial))
            next = port;
    }
    return next;
}

static int list_ports(Switch *net, Request *request, Reply *reply, Error *error) {
    uint64_t after = request->message.after;
    const Port *port;
    while ((port = next_port(net, after))) {
        SwitchMessage item = {.port = port->lease,
                              .counters = port->counters,
                              .impair = {.out = port->shape_out.set, .in = port->shape_in.set},
                              .limit = port->limit};
        if (!add_item(reply, &item,
                      SWITCH_PART_PORT | SWITCH_PART_COUNTERS | SWITCH_PART_IMPAIR |
                          SWITCH_PART_LIMIT))
            break;
        after = port->lease.serial;
    }
    return 0;
}

/* ---- forwards ---- */

static int add_forward(Switch *net, Request *request, Reply *reply, Error *error) {
    return forward_add(net, &request->message.forward, request->fd, error);
}

static int remove_forward(Switch *net, Request *request, Reply *reply, Error *error) {
    return forward_remove(net, &request->message.forward, error);
}

static int list_forwards(Switch *net, Request *request, Reply *reply, Error *error) {
    for (uint64_t i = request->message.after; i < net->n_forwards; i++) {
        SwitchMessage item = {.forward = net->forwards[i]};
        if (!add_item(reply, &item, SWITCH_PART_FORWARD))
            break;
    }
    return 0;
}

/* ---- impairment, captures, holds ---- */

static int impair(Switch *net, Request *request, Reply *reply, Error *error) {
    const SwitchImpair *set = &request->message.impair;
    Port *port = NULL;
    if (request->message.id[0]) {
        int r = find_port(net, request->message.id, &port, error);
        if (r < 0)
            return r;
    }
    shaper_set(port ? &port->shape_out : &net->shape_out, &set->out);
    shaper_set(port ? &port->shape_in : &net->shape_in, &set->in);
    return 0;
}

static int limit(Switch *net, Request *request, Reply *reply, Error *error) {
    Port *port;
    int r = find_port(net, request->message.id, &port, error);
    if (r == 0)
        limit_set(port, &request->message.limit);
    return r;
}

static int start_capture(Switch *net, Request *request, Reply *reply, Error *error) {
    int r = capture_start(net, request->message.id, request->fd, &reply->message.capture, error);
    if (r == 0)
        request->fd = -1; /* the capture's now */
    reply->parts = SWITCH_PART_PLAIN;
    return r;
}

static int capture_frames_from(Switch *net, Request *request, Reply *reply, Error *error) {
    int r = capture_from(net, request->message.capture, request->fd, error);
    if (r == 0)
        request->fd = -1; /* the capture's now */
    return r;
}

static int end_capture(Switch *net, Request *request, Reply *reply, Error *error) {
    reply->parts = SWITCH_PART_PLAIN;
    return capture_end(net, request->message.capture, &reply->message.captured,
                       &reply->message.lost, error);
}

static int hold(Switch *net, Request *request, Reply *reply, Error *error) {
    deliver_hold(net);
    return 0;
}

static int release(Switch *net, Request *request, Reply *reply, Error *error) {
    deliver_release(net, request->message.discard);
    return 0;
}

/* ---- the program ---- */

static int hello(Switch *net, Request *request, Reply *reply, Error *error) {
    reply->message.version = SWITCH_PROTOCOL_VERSION;
    reply->message.pid = (uint64_t)getpid();
    str_set(reply->message.ramet, RAMET_VERSION);
    reply->parts = SWITCH_PART_PLAIN;
    return 0;
}

static int listen_for_names(Switch *net, Request *request, Reply *reply, Error *error) {
    int r = names_listen(net, request->fd, error);
    if (r == 0)
        request->fd = -1; /* the network's now */
    return r;
}

static int quit(Switch *net, Request *request, Reply *reply, Error *error) {
    net->quit = true;
    return 0;
}

static const struct {
    Operation operation;
    bool configured; /* only once there is a network */
} operations[] = {
    [SWITCH_HELLO] = {hello, false},
    [SWITCH_NETWORK] = {set_network, false},
    [SWITCH_GET_NETWORK] = {get_network, false},
    [SWITCH_PORT] = {set_port, true},
    [SWITCH_REMOVE_PORT] = {remove_port, true},
    [SWITCH_LIST_PORTS] = {list_ports, false},
    [SWITCH_FORWARD] = {add_forward, true},
    [SWITCH_REMOVE_FORWARD] = {remove_forward, true},
    [SWITCH_LIST_FORWARDS] = {list_forwards, false},
    [SWITCH_IMPAIR] = {impair, true},
    [SWITCH_LIMIT] = {limit, true},
    [SWITCH_CAPTURE] = {start_capture, true},
    [SWITCH_CAPTURE_FROM] = {capture_frames_from, true},
    [SWITCH_END_CAPTURE] = {end_capture, true},
    [SWITCH_HOLD] = {hold, true},
    [SWITCH_RELEASE] = {release, true},
    [SWITCH_QUIT] = {quit, false},
    [SWITCH_NAMES] = {listen_for_names, true},
};

static int handle(Switch *net, Request *request, Reply *reply, Error *error) {
    uint16_t number = request->message.number;
    if (number >= ARRAY_SIZE(operations) || !operations[number].operation)
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this switch knows no operation %u",
                         number);
    if (operations[number].configured && !net->configured)
        return error_set(error, ERROR_CONFLICT, ENOTCONN,
                         "the switch was not told its network yet");
    return operations[number].operation(net, request, reply, error);
}

static void set_error(SwitchMessage *message, const Error *error) {
    *message = (SwitchMessage){.number = SWITCH_ERROR, .errnum = (uint64_t)error->errnum};
    str_set(message->code, error_kind_code(error->kind));
    str_set(message->message, error_message(error));
    str_set(message->hint, str_or_empty(error->hint));
}

size_t request_handle(Switch *net, Request *request, const uint8_t *data, size_t size,
                      uint8_t *answer, size_t room) {
    _cleanup_error_ Error error = ERROR_INIT;
    Reply reply = {.message = {.number = SWITCH_OK}, .buffer = answer, .room = room};
    int r = switch_message_read(data, size, &request->message, &error);
    if (r == 0)
        r = handle(net, request, &reply, &error);
    if (r == 0 && reply.size > 0)
        return reply.size;
    if (r < 0) {
        set_error(&reply.message, &error);
        reply.parts = SWITCH_PART_PLAIN;
    }
    int written = switch_message_write(&reply.message, reply.parts, answer, room);
    return written < 0 ? 0 : (size_t)written;
}
