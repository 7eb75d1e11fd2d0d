/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/limit.h"

#include "base/clock.h"

void limit_free(Port *port) {
    connections_free(port->connections);
    port->connections = NULL;
}

void limit_set(Port *port, const SwitchLimit *limit) {
    uint64_t now = clock_monotonic_usec();
    port->limit = *limit;
    shaper_set_limit(&port->shape_out, limit->out_bps);
    shaper_set_limit(&port->shape_in, limit->in_bps);
    bucket_set(&port->frames_out, limit->packets, now);
    bucket_set(&port->frames_in, limit->packets, now);
    if (limit->connections == 0)
        limit_free(port);
    else if (!port->connections)
        port->connections = connections_new();
}

static bool take(Bucket *bucket) {
    return bucket->rate == 0 || bucket_take(bucket, clock_monotonic_usec());
}

bool limit_take_out(Port *port) {
    return take(&port->frames_out);
}

bool limit_take_in(Port *port) {
    return take(&port->frames_in);
}

bool limit_admit(Port *port, const Packet *packet) {
    return !port->connections || connections_admit(port->connections, packet,
                                                   port->limit.connections, clock_monotonic_usec());
}

void limit_note(Port *port, const Packet *packet) {
    if (port->connections)
        connections_note(port->connections, packet, clock_monotonic_usec());
}
