/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/flows.h"

#include "base/clock.h"

static size_t size_of(const Packet *packet) {
    return packet->ethertype == ETHERTYPE_IP4 ? 4 : 16;
}

/* guest_port: where it stands in the UDP header. */
static Flow make_flow(const uint8_t *guest, const uint8_t *peer, const Packet *packet,
                      size_t guest_port) {
    Flow flow = {.seen_usec = clock_monotonic_usec()};
    memcpy(flow.guest, guest, size_of(packet));
    memcpy(flow.peer, peer, size_of(packet));
    memcpy(flow.ports, packet->inner + guest_port, 2);
    memcpy(flow.ports + 2, packet->inner + (2 - guest_port), 2);
    return flow;
}

static uint32_t place_of(const Flow *flow) {
    uint32_t value = 2166136261u;
    const uint8_t *bytes = (const uint8_t *)flow;
    for (size_t i = 0; i < offsetof(Flow, seen_usec); i++)
        value = (value ^ bytes[i]) * 16777619u;
    return (value ^ value >> 16) % FLOWS_MAX;
}

void flows_note(Flows *flows, const uint8_t *guest, const uint8_t *peer, const Packet *packet) {
    if (packet->fragment)
        return;
    Flow flow = make_flow(guest, peer, packet, 2);
    flows->flows[place_of(&flow)] = flow;
}

bool flows_know(const Flows *flows, const uint8_t *guest, const uint8_t *peer,
                const Packet *packet) {
    Flow flow = make_flow(guest, peer, packet, 0);
    const Flow *known = &flows->flows[place_of(&flow)];
    return known->seen_usec != 0 && flow.seen_usec - known->seen_usec < FLOW_USEC &&
           memcmp(known, &flow, offsetof(Flow, seen_usec)) == 0;
}
