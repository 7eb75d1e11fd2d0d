/* SPDX-License-Identifier: Apache-2.0 */

#include "network/describe_switch.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "network/lease.h"
#include "network/subnet.h"
#include "proto/user_network.h"

static void read_ip(const char *text, uint8_t ip[4]) {
    (void)inet_pton(AF_INET, text, ip);
}

static void read_ip6(const char *text, uint8_t ip[16]) {
    (void)inet_pton(AF_INET6, text, ip);
}

static void read_mac(const char *text, uint8_t mac[6]) {
    (void)sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                 &mac[5]);
}

void switch_describe_network(const NetworkRow *network, SwitchNetwork *settings) {
    const NetworkData *data = &network->data;
    uint32_t gateway = 0;
    char mac[18];
    *settings = (SwitchNetwork){.prefix = data->prefix,
                                .prefix6 = data->prefix6,
                                .isolated = data->isolated,
                                .uplink = !data->no_uplink,
                                .allow_host = data->allow_host};
    str_set(settings->name, name_within_lab(network->name));
    read_ip(data->subnet, settings->subnet);
    read_ip(data->gateway, settings->gateway);
    read_ip6(data->subnet6, settings->subnet6);
    read_ip6(data->gateway6, settings->gateway6);
    if (network_is_user(network)) {
        settings->apart = true;
        read_ip(USER_NETWORK_DNS, settings->dns);
        read_mac(USER_NETWORK_GATEWAY_MAC, settings->gateway_mac);
        return;
    }
    (void)ipv4_parse(data->gateway, &gateway);
    network_mac(network, gateway, mac);
    read_mac(mac, settings->gateway_mac);
}

void switch_port_id(const VmRow *vm, size_t card, char id[SWITCH_ID_SIZE]) {
    (void)snprintf(id, SWITCH_ID_SIZE, "%s/%zu", vm->id, card);
}

void switch_describe_port(const VmRow *vm, size_t card, SwitchPort *port) {
    VmAddress address = vm_address(vm, card);
    char guest_mac[18];
    *port = (SwitchPort){.router = vm->spec.router,
                         .allow_host = vm->spec.cards.items[card].allow_host};
    switch_port_id(vm, card, port->id);
    str_set(port->name, name_within_lab(vm->name));
    read_mac(address.mac, port->mac);
    if (guest_macs_get(vm->runtime.guest_macs, card, guest_mac))
        read_mac(guest_mac, port->guest_mac);
    read_ip(address.ip, port->ip);
    read_ip6(address.ip6, port->ip6);
}

void switch_describe_forward(const VmRow *vm, size_t card, const PortForward *forward,
                             SwitchForward *told) {
    *told = (SwitchForward){
        .udp = forward->udp, .host_port = forward->host_port, .guest_port = forward->guest_port};
    switch_port_id(vm, card, told->id);
    read_ip(forward->host_ip, told->host_ip);
}

void switch_describe_impair(const Impairment *impairment, bool whole_network, SwitchImpair *told) {
    const SwitchImpairment one = {.latency_usec = impairment->latency_usec,
                                  .jitter_usec = impairment->jitter_usec,
                                  .loss_ppm = impairment->loss_ppm,
                                  .rate_bps = impairment->rate_bps,
                                  .cut = impairment->cut};
    *told = (SwitchImpair){.out = one};
    if (!whole_network)
        told->in = one;
    told->in.cut = impairment->cut;
}

void switch_describe_limit(const NetLimit *limit, SwitchLimit *told) {
    *told = (SwitchLimit){.in_bps = limit->in_bps,
                          .out_bps = limit->out_bps,
                          .packets = limit->packets,
                          .connections = limit->connections};
}
