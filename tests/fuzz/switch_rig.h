/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FUZZ_SWITCH_RIG_H
#define RAMET_FUZZ_SWITCH_RIG_H

/* A switch with two ports, apart or not, one of them a router with a translated MAC, and no uplink:
 * nothing leaves this process. */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "switch/ingress.h"
#include "switch/network.h"
#include "switch/ports/port.h"

typedef struct Rig {
    Loop *loop;
    Switch net;
    int ends[2];
} Rig;

static void rig_add_port(Rig *rig, unsigned number) {
    SwitchPort lease = {.mac = {0x52, 0x54, 0, 0, 0, (uint8_t)(number + 2)},
                        .ip = {10, 7, 0, (uint8_t)(number + 2)},
                        .ip6 = {0xfd, 7, [15] = (uint8_t)(number + 2)},
                        .router = number == 1};
    int pair[2];
    (void)snprintf(lease.id, sizeof(lease.id), "%u", number);
    (void)snprintf(lease.name, sizeof(lease.name), "vm%u", number);
    if (number == 1)
        memcpy(lease.guest_mac, "\x52\x54\0\0\0\x63", 6);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0 ||
        port_set(&rig->net, &lease, pair[1], ingress_shaped, NULL) < 0)
        abort();
    rig->ends[number] = pair[0];
}

static inline void rig_init(Rig *rig, bool apart) {
    const SwitchNetwork network = {.name = "lab",
                                   .subnet = {10, 7, 0, 0},
                                   .prefix = 24,
                                   .gateway = {10, 7, 0, 1},
                                   .subnet6 = {0xfd, 7},
                                   .prefix6 = 64,
                                   .gateway6 = {0xfd, 7, [15] = 1},
                                   .gateway_mac = {0x52, 0x54, 0, 0, 0, 1},
                                   .mtu = 1500,
                                   .isolated = apart,
                                   .apart = apart,
                                   .dns = {apart ? 10 : 0, apart ? 7 : 0, 0, apart ? 9 : 0}};
    if (loop_new(&rig->loop) < 0 || network_init(&rig->net, rig->loop, NULL, NULL) < 0)
        abort();
    rig->net.network = network;
    rig->net.configured = true;
    for (unsigned i = 0; i < 2; i++)
        rig_add_port(rig, i);
}

static inline void rig_free(Rig *rig) {
    network_free(&rig->net);
    loop_free(rig->loop);
    for (unsigned i = 0; i < 2; i++)
        (void)close(rig->ends[i]);
}

#endif
