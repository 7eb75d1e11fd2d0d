/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ingress.h"

#include "switch/gateway.h"
#include "switch/ports/capture.h"
#include "switch/ports/check.h"
#include "switch/ports/deliver.h"
#include "switch/ports/limit.h"
#include "switch/ports/neighbor.h"
#include "switch/ports/port.h"
#include "switch/ports/table.h"
#include "switch/ports/translate.h"

static void drop(Port *port, Buffer *buffer, SwitchDrop reason) {
    count_drop(port->owner, port->slot, reason);
    buffer_release(&port->owner->pool, buffer);
}

/* To a sibling, by its MAC: leases say where each one is, so nothing is learned or flooded. */
static void to_sibling(Port *port, Buffer *buffer, const uint8_t *mac) {
    const Port *sibling = table_find_mac(port->owner, mac);
    if (!sibling || sibling == port)
        drop(port, buffer, SWITCH_DROP_UNREACHABLE);
    else if (port->owner->network.isolated)
        drop(port, buffer, SWITCH_DROP_ISOLATED);
    else
        deliver(port->owner, buffer, sibling->slot, STAGE_NETWORK_OUT);
}

static void to_all(Port *port, Buffer *buffer) {
    if (port->owner->network.isolated)
        drop(port, buffer, SWITCH_DROP_ISOLATED);
    else
        deliver_to_all(port->owner, buffer);
}

/* Who is apart has nobody else to send to, whatever MAC a guest remembers from elsewhere. */
static bool is_for_gateway(const Port *port, const Packet *packet, const uint8_t *to) {
    const SwitchNetwork *network = &port->owner->network;
    if (network->apart)
        return !(to[0] & 1) || packet_asks_for_lease(packet);
    return memcmp(to, network->gateway_mac, 6) == 0;
}

static void route(Port *port, Buffer *buffer, const Packet *packet) {
    const uint8_t *to = packet_to(packet);
    if (is_for_gateway(port, packet, to))
        gateway_receive(port, buffer, packet);
    else if (to[0] & 1)
        to_all(port, buffer);
    else
        to_sibling(port, buffer, to);
}

/* A frame that was checked, and translated. */
static void forward(Port *port, Buffer *buffer, const Packet *packet) {
    switch (neighbor_handle(port, packet)) {
    case NEIGHBOR_FORWARD:
        route(port, buffer, packet);
        break;
    case NEIGHBOR_DONE:
        buffer_release(&port->owner->pool, buffer);
        break;
    case NEIGHBOR_UNKNOWN:
        drop(port, buffer, SWITCH_DROP_UNREACHABLE);
        break;
    }
}

void ingress_receive(Port *port, Buffer *buffer) {
    Switch *net = port->owner;
    Packet packet;
    int reason = check_frame(port, &packet, buffer->data, buffer->size);
    if (reason == DROP_NONE)
        translate_from_guest(port, &packet);
    capture_frame(net, port, CAPTURE_FROM_GUEST, buffer->data, buffer->size);
    if (reason == DROP_NONE && !limit_take_out(port))
        reason = SWITCH_DROP_LIMIT;
    if (reason == DROP_NONE)
        reason = shaper_offer(&port->shape_out, buffer, port->slot, STAGE_PORT_OUT);
    if (reason >= 0) {
        drop(port, buffer, (SwitchDrop)reason);
        return;
    }
    port->counters.sent_frames++;
    port->counters.sent_bytes += buffer->size;
    if (reason == SHAPER_TAKEN)
        buffer_release(&net->pool, buffer);
    else
        forward(port, buffer, &packet);
}

static void forward_again(Switch *net, const Kept *kept) {
    Port *port = net->ports[kept->source];
    Packet packet;
    Buffer *buffer = port ? kept_to_buffer(kept, &net->pool) : NULL;
    if (!buffer)
        count_drop(net, kept->source, SWITCH_DROP_QUEUE);
    else if (packet_parse(&packet, buffer->data, buffer->size) == DROP_NONE)
        forward(port, buffer, &packet);
    else
        drop(port, buffer, SWITCH_DROP_MALFORMED);
}

void ingress_shaped(void *net, const Kept *kept) {
    if (kept->stage == STAGE_PORT_OUT)
        forward_again(net, kept);
    else
        deliver_kept(net, kept);
}
