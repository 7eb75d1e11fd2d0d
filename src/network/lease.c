/* SPDX-License-Identifier: Apache-2.0 */

#include "network/lease.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "network/subnet.h"
#include "store/network/leases.h"

#define MAC_DRAWS_MAX 16 /* of 24 random bits, and hardly any is taken */

void network_address6(const NetworkData *data, uint32_t host, char text[46]) {
    struct in6_addr address;
    uint32_t number = htonl(host);
    if (inet_pton(AF_INET6, data->subnet6, &address) != 1)
        address = (struct in6_addr){0};
    memcpy(&address.s6_addr[12], &number, sizeof(number));
    (void)inet_ntop(AF_INET6, &address, text, 46);
}

/* One of the network's stations: not the network's own address, its gateway or all of them. */
static int check_wish(const NetworkRow *network, const char *wish, uint32_t *ip, Error *error) {
    Subnet subnet = subnet_of(network->data.subnet, network->data.prefix);
    const char *why = NULL;
    (void)ipv4_parse(wish, ip);
    if (*ip < subnet.address || *ip > subnet_broadcast(&subnet))
        why = "is not of its subnet";
    else if (*ip == subnet.address)
        why = "is that of the network itself";
    else if (*ip == subnet_broadcast(&subnet))
        why = "means all of its VMs";
    else if (str_equal(wish, network->data.gateway))
        why = "is its gateway";
    if (!why)
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL,
                     "%s cannot be a VM's address in network %s (%s/%u): it %s", wish,
                     network->name, network->data.subnet, network->data.prefix, why);
}

static int choose_ip(Store *store, const NetworkRow *network, const VmCard *card, uint32_t *ip,
                     Error *error) {
    Subnet subnet = subnet_of(network->data.subnet, network->data.prefix);
    if (*card->ip)
        return check_wish(network, card->ip, ip, error);
    int r = leases_find_free(store, network->id, subnet.address + 2, subnet_broadcast(&subnet) - 1,
                             ip, error);
    if (r != 0)
        return r < 0 ? r : 0;
    error_set(error, ERROR_CONFLICT, ENOSPC, "network %s (%s/%u) has no free address",
              network->name, network->data.subnet, network->data.prefix);
    error_set_hint(error, "remove VMs that are in it, or use a network with a larger subnet");
    return -ENOSPC;
}

/* 52:54 is what QEMU's addresses begin with; the third byte tells networks apart. */
void network_mac(const NetworkRow *network, uint32_t ip, char mac[18]) {
    const char *id = *network->data.macs_of ? network->data.macs_of : network->id;
    unsigned third = 1;
    (void)sscanf(id, "%2x", &third);
    (void)snprintf(mac, 18, "52:54:%02x:%02x:%02x:%02x", third ? third & 0xff : 1, ip >> 16 & 0xff,
                   ip >> 8 & 0xff, ip & 0xff);
}

static int insert(Store *store, const VmCard *card, const NetworkRow *network, LeaseRow *lease,
                  Error *error) {
    int r = -EAGAIN;
    network_mac(network, lease->ip, lease->mac);
    if (*card->mac)
        str_set(lease->mac, card->mac);
    for (int i = 0; i < MAC_DRAWS_MAX && r == -EAGAIN; i++) {
        uint32_t random;
        error_clear(error);
        r = leases_insert(store, lease, error);
        if (r != -EAGAIN || *card->mac)
            break;
        random_bytes(&random, sizeof(random)); /* somebody asked for this one */
        network_mac(network, random, lease->mac);
    }
    if (r == -EAGAIN)
        r = error_set(error, ERROR_CONFLICT, EEXIST, "another VM has the MAC address %s",
                      lease->mac);
    if (r == -EEXIST)
        error_set_hint(error, "see ramet network inspect %s, or leave ip= and mac= out",
                       network->name);
    return r < 0 ? error_add_context(error, "network %s", network->name) : 0;
}

/* A stranger in it would stay when the lab goes, and be in no copy of it. */
static int check_lab(const NetworkRow *network, const VmRow *vm, Error *error) {
    if (!*network->lab || str_equal(network->lab, vm->lab))
        return 0;
    error_set(error, ERROR_CONFLICT, EPERM, "network %s is a lab's, and has its VMs only",
              network->name);
    error_set_hint(error, "see ramet network ls, or use --network user");
    return -EPERM;
}

static int check_limit(const NetworkRow *network, const VmRow *vm, Error *error) {
    if (!vm->spec.net_limit.connections || str_equal(network->data.backend, "switch"))
        return 0;
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
              "network %s is a %s: connections are not counted there", network->name,
              network->data.backend);
    error_set_hint(error, "limit in, out and packets, or take a network that was made with "
                          "--backend switch");
    return -ENOTSUP;
}

int network_check_limit(Store *store, const VmRow *vm, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.cards.count; i++) {
        _cleanup_network_row_ NetworkRow network = {0};
        if (!vm_network_is_named(vm->spec.cards.items[i].network))
            continue;
        r = networks_get(store, vm->spec.cards.items[i].network, &network, error);
        if (r >= 0)
            r = check_limit(&network, vm, error);
    }
    return r;
}

static int lease_card(Store *store, VmRow *vm, size_t index, Error *error) {
    const VmCard *card = &vm->spec.cards.items[index];
    _cleanup_network_row_ NetworkRow network = {0};
    LeaseRow lease = {.card = (unsigned)index};
    VmAddress address = {.mac = ""};
    int r = networks_get(store, card->network, &network, error);
    if (r >= 0)
        r = check_lab(&network, vm, error);
    if (r >= 0)
        r = check_limit(&network, vm, error);
    if (r >= 0)
        r = choose_ip(store, &network, card, &lease.ip, error);
    if (r < 0)
        return r;
    str_set(lease.network, network.id);
    str_set(lease.vm, vm->id);
    r = insert(store, card, &network, &lease, error);
    if (r < 0)
        return r;
    str_set(address.mac, lease.mac);
    ipv4_format(lease.ip, address.ip);
    network_address6(&network.data,
                     lease.ip - subnet_of(network.data.subnet, network.data.prefix).address,
                     address.ip6);
    vm_set_address(vm, index, &address);
    return 0;
}

int network_lease(Store *store, VmRow *vm, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && !*vm->runtime.hidden && i < vm->spec.cards.count; i++)
        if (vm_network_is_named(vm->spec.cards.items[i].network))
            r = lease_card(store, vm, i, error);
    return r;
}

int network_check_cards(Store *store, const VmCards *cards, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < cards->count; i++) {
        _cleanup_network_row_ NetworkRow network = {0};
        if (vm_network_is_named(cards->items[i].network))
            r = networks_get(store, cards->items[i].network, &network, error);
    }
    return r;
}

void network_spare_address(const NetworkRow *network, VmAddress *address) {
    Subnet subnet = subnet_of(network->data.subnet, network->data.prefix);
    uint32_t last = subnet_broadcast(&subnet) - 1;
    ipv4_format(last, address->ip);
    network_address6(&network->data, last - subnet.address, address->ip6);
}
