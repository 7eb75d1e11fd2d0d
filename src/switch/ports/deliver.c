/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/deliver.h"

#include "base/clock.h"
#include "switch/ports/capture.h"
#include "switch/ports/limit.h"
#include "switch/ports/port.h"
#include "switch/ports/translate.h"

#define BROADCASTS_PER_SECOND 1000u
#define BROADCASTS_AT_ONCE 250u
#define TOKEN 1000000u

static void drop(Switch *net, Buffer *buffer, uint16_t target, SwitchDrop reason) {
    count_drop(net, buffer->source != SLOT_GATEWAY ? buffer->source : target, reason);
    buffer_release(&net->pool, buffer);
}

/* Above a limit, which is the receiver's. */
static void refuse(Switch *net, Buffer *buffer, uint16_t target) {
    count_drop(net, target, SWITCH_DROP_LIMIT);
    buffer_release(&net->pool, buffer);
}

/* As the guest is to see it: in a copy where others get the frame, too. NULL: there is no room. */
static Buffer *translated(Switch *net, const Port *port, Buffer *buffer) {
    Buffer *own = buffer;
    if (!translate_is_due(port, buffer))
        return buffer;
    if (buffer->references > 1) {
        own = buffer_take(&net->pool, buffer->source);
        if (!own)
            return NULL;
        own->size = buffer->size;
        memcpy(own->data, buffer->data, buffer->size);
        buffer_release(&net->pool, buffer);
    }
    translate_to_guest(port, own);
    return own;
}

static void to_port(Switch *net, Buffer *buffer, Port *port) {
    if (!limit_take_in(port)) {
        refuse(net, buffer, port->slot);
        return;
    }
    capture_frame(net, port, CAPTURE_TO_GUEST, buffer->data, buffer->size);
    Buffer *own = translated(net, port, buffer);
    if (own)
        port_queue(port, own);
    else
        drop(net, buffer, port->slot, SWITCH_DROP_QUEUE);
}

static void arrive(Switch *net, Buffer *buffer, uint16_t target) {
    Port *port = net->ports[target];
    if (port) {
        to_port(net, buffer, port);
        return;
    }
    if (target == SLOT_GATEWAY && net->to_uplink)
        net->to_uplink(net, buffer);
    buffer_release(&net->pool, buffer);
}

static void hold(Switch *net, Buffer *buffer, uint16_t target) {
    if (kept_add(&net->hold, buffer, target, STAGE_END))
        buffer_release(&net->pool, buffer);
    else
        drop(net, buffer, target, SWITCH_DROP_HELD);
}

/* The impairment of a stage; NULL when there is none. */
static Shaper *shaper_at(Switch *net, const Buffer *buffer, uint16_t target, ShapedAt stage) {
    Port *to = net->ports[target];
    switch (stage) {
    case STAGE_NETWORK_OUT:
        return buffer->source != SLOT_GATEWAY ? &net->shape_out : NULL;
    case STAGE_NETWORK_IN:
        return to ? &net->shape_in : NULL;
    case STAGE_PORT_IN:
        return to ? &to->shape_in : NULL;
    case STAGE_PORT_OUT:
    case STAGE_END:
        break;
    }
    return NULL;
}

void deliver(Switch *net, Buffer *buffer, uint16_t target, ShapedAt stage) {
    for (; stage < STAGE_END; stage++) {
        Shaper *shaper = shaper_at(net, buffer, target, stage);
        int r = shaper ? shaper_offer(shaper, buffer, target, stage) : SHAPER_PASS;
        if (r == SHAPER_TAKEN) {
            buffer_release(&net->pool, buffer);
            return;
        }
        if (r == SWITCH_DROP_LIMIT) {
            refuse(net, buffer, target);
            return;
        }
        if (r != SHAPER_PASS) {
            drop(net, buffer, target, (SwitchDrop)r);
            return;
        }
    }
    if (net->held)
        hold(net, buffer, target);
    else
        arrive(net, buffer, target);
}

static bool take_token(Port *port) {
    uint64_t now = clock_monotonic_usec();
    uint64_t grown = (now - port->broadcast_usec) * BROADCASTS_PER_SECOND;
    uint64_t most = (uint64_t)BROADCASTS_AT_ONCE * TOKEN;
    port->broadcast_credit = MIN_OF(port->broadcast_credit + grown, most);
    port->broadcast_usec = now;
    if (port->broadcast_credit < TOKEN)
        return false;
    port->broadcast_credit -= TOKEN;
    return true;
}

void deliver_to_all(Switch *net, Buffer *buffer) {
    Port *from = net->ports[buffer->source];
    if (from && !take_token(from)) {
        drop(net, buffer, buffer->source, SWITCH_DROP_FLOOD);
        return;
    }
    for (uint16_t slot = 1; slot < net->slots; slot++)
        if (net->ports[slot] && slot != buffer->source)
            deliver(net, buffer_share(buffer), slot, STAGE_NETWORK_OUT);
    buffer_release(&net->pool, buffer);
}

static void resume(Switch *net, const Kept *kept, ShapedAt stage) {
    Buffer *buffer = kept_to_buffer(kept, &net->pool);
    if (buffer)
        deliver(net, buffer, kept->target, stage);
    else
        count_drop(net, kept->source, SWITCH_DROP_QUEUE);
}

void deliver_kept(Switch *net, const Kept *kept) {
    resume(net, kept, (ShapedAt)(kept->stage + 1));
}

static void end_hold(void *data) {
    deliver_release(data, false);
}

void deliver_hold(Switch *net) {
    net->held = true;
    if (!net->hold_timer)
        net->hold_timer = loop_add_timer(net->loop, UINT64_MAX, end_hold, net);
    loop_set_timer(net->hold_timer, clock_monotonic_usec() + SWITCH_HOLD_MAX_USEC);
}

void deliver_release(Switch *net, bool discard) {
    Kept *kept;
    net->held = false;
    ports_resume(net);
    net->hold_timer = loop_remove(net->hold_timer);
    while ((kept = kept_take(&net->hold))) {
        if (discard)
            count_drop(net, kept->source, SWITCH_DROP_HELD);
        else
            resume(net, kept, STAGE_END);
        free(kept);
        if (net->n_flush > 0 && !discard)
            ports_flush(net);
    }
}
