/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/network.h"

#include <errno.h>
#include <string.h>

#include "switch/ingress.h"
#include "switch/outside/dns_tcp.h"
#include "switch/outside/polling.h"
#include "switch/outside/resolver.h"
#include "switch/outside/uplink.h"
#include "switch/ports/capture.h"
#include "switch/ports/port.h"

#define HOLD_BYTES_MAX (8u << 20)

static void after_round(void *data) {
    Switch *net = data;
    uplinks_settle(net->uplinks);
    ports_flush(net);
}

int network_init(Switch *net, Loop *loop, const char *resolv_conf, Error *error) {
    memset(net, 0, sizeof(*net));
    net->loop = loop;
    net->slots = 1;
    net->receive = ingress_receive;
    net->names.fd = -1;
    kept_init(&net->hold, HOLD_BYTES_MAX, &net->kept_bytes);
    int r = buffer_pool_init(&net->pool);
    if (r == 0)
        r = uplinks_new(loop, &net->uplinks);
    if (r == 0)
        r = resolver_new(net, resolv_conf, &net->resolver);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make the switch");
    shaper_init(&net->shape_out, loop, &net->kept_bytes, ingress_shaped, net);
    shaper_init(&net->shape_in, loop, &net->kept_bytes, ingress_shaped, net);
    loop_set_after_round(loop, after_round, net);
    return 0;
}

static void end_outside(Outside *outside) {
    dns_tcp_free(&outside->dns_tcp);
    uplink_free(outside);
}

void network_remove_port(Port *port) {
    end_outside(&port->outside);
    port_remove(port);
}

void network_free(Switch *net) {
    for (uint16_t slot = net->slots; slot-- > 1;)
        if (net->ports[slot])
            network_remove_port(net->ports[slot]);
    end_outside(&net->outside);
    uplinks_free(net->uplinks);
    free(net->forwards);
    captures_free(net);
    resolver_free(net->resolver);
    watched_close(&net->names);
    net->hold_timer = loop_remove(net->hold_timer);
    kept_clear(&net->hold);
    shaper_free(&net->shape_out);
    shaper_free(&net->shape_in);
    buffer_pool_free(&net->pool);
}
