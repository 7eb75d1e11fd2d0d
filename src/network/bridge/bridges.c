/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/bridges.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "network/bridge/bridge_inside.h"
#include "network/bridge/host_forwarding.h"
#include "network/bridge/impair.h"
#include "network/bridge/line.h"
#include "network/bridge/link.h"
#include "network/bridge/probe.h"
#include "network/bridge/rules.h"
#include "network/bridge/tables.h"

/* ---- the bridge ---- */

/* Of its own, so that it is not the least of its ports'. */
static void bridge_mac(const char *network_id, uint8_t mac[6]) {
    (void)memcpy(mac, (const uint8_t[]){0x02, 0x52}, 2);
    (void)sscanf(network_id, "%2hhx%2hhx%2hhx%2hhx", &mac[2], &mac[3], &mac[4], &mac[5]);
}

/* One that was made and not yet given its alias, as the daemon ended, has all the rest. */
static bool is_ours(const Bridges *bridges, const NetworkRow *network, const Link *link) {
    char id[VM_ID_SIZE], use[BRIDGE_USE_SIZE];
    uint8_t mac[6];
    bridge_mac(network->id, mac);
    if (!str_equal(link->kind, "bridge"))
        return false;
    if (!*link->alias)
        return memcmp(mac, link->mac, sizeof(mac)) == 0;
    return bridge_alias_parse(&bridges->names, link->alias, id, use) &&
           str_equal(id, network->id) && str_equal(use, "bridge");
}

static int make(const Bridges *bridges, const NetworkRow *network, const char *device,
                unsigned *index, Error *error) {
    Link link = {.index = 0};
    uint8_t mac[6];
    int r = link_get(device, &link);
    if (r == 0 && !is_ours(bridges, network, &link)) {
        error_set(error, ERROR_CONFLICT, EEXIST, "the host has a device %s that is not of here",
                  device);
        error_set_hint(error, "remove it (ip link del %s), or make another network", device);
        return -EEXIST;
    }
    bridge_mac(network->id, mac);
    if (r == -ENODEV)
        r = link_make_bridge(device, mac, &link.index);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make the bridge %s", device);
    *index = link.index;
    return 0;
}

static void read_address(int family, const char *text, unsigned prefix, LinkAddress *address) {
    *address = (LinkAddress){.family = family, .prefix = (uint8_t)prefix};
    (void)inet_pton(family, text, address->bytes);
}

static int set_up(const Bridges *bridges, const NetworkRow *network, unsigned index) {
    const NetworkData *data = &network->data;
    char alias[BRIDGE_ALIAS_SIZE];
    LinkAddress address, address6;
    bridge_alias(&bridges->names, network->id, "bridge", alias);
    read_address(AF_INET, data->gateway, data->prefix, &address);
    read_address(AF_INET6, data->gateway6, data->prefix6, &address6);
    int r = link_change(index, &(LinkChange){.alias = alias, .up = true});
    if (r == 0)
        r = link_add_address(index, &address);
    if (r == 0)
        r = link_add_address(index, &address6);
    return r == -EACCES || r == -EOPNOTSUPP ? 0 : r; /* a host without IPv6 */
}

static int make_whole(const Bridges *bridges, const NetworkRow *network, Error *error) {
    char device[IFNAMSIZ];
    unsigned index = 0;
    bridge_device_name(network->id, device);
    int r = make(bridges, network, device, &index, error);
    if (r < 0)
        return r;
    host_set_bridge(device);
    r = set_up(bridges, network, index);
    if (r < 0)
        return error_set_errno(error, -r, "cannot set the bridge %s up", device);
    host_forward_uplinks(); /* forwards come in there, too */
    return 0;
}

int bridges_can_all(Home *home, Error *error) {
    return bridge_probe(&home->bridges->names, &home->bridges->mutex, error);
}

int bridge_open(Home *home, const NetworkRow *network, Error *error) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    char device[IFNAMSIZ];
    int r = host_check_bridges(error);
    if (r >= 0)
        r = make_whole(home->bridges, network, error);
    if (r < 0)
        return r;
    bridge_device_name(network->id, device);
    rules_add_network(home->bridges->names.table, network, device, &text);
    r = tables_tell(home, text.data, error);
    if (r < 0)
        bridge_remove(home, network);
    return r;
}

/* ---- the end of a network ---- */

static void forget_taps(Bridges *bridges, const char *network) {
    for (size_t i = bridges->taps.count; i-- > 0;)
        if (str_equal(bridges->taps.items[i].network, network))
            taps_remove(&bridges->taps, &bridges->taps.items[i]);
}

static bool is_last(Home *home) {
    NetworkRow *rows = NULL;
    size_t count = 0, bridges = 0;
    if (networks_list(home->store, &rows, &count, NULL) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        bridges += network_is_bridge(&rows[i]);
    network_rows_free(rows, count);
    return bridges == 0;
}

/* The rules go before the device, so that a daemon that ends in between finds the device, and by
 * it what is left to do. */
static void remove_rules(Home *home, const NetworkRow *network, const char *device) {
    Bridges *bridges = home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    if (is_last(home))
        rules_remove_tables(bridges->names.table, &text);
    else
        rules_remove_network(bridges->names.table, network, device, &text);
    if (tables_run(bridges, text.data, &error) < 0 && error.errnum != ENOENT)
        log_warning("cannot remove the rules of network %s: %s", network->name,
                    error_message(&error));
}

void bridge_remove(Home *home, const NetworkRow *network) {
    Bridges *bridges = home->bridges;
    char device[IFNAMSIZ];
    Link link;
    bridge_device_name(network->id, device);
    (void)pthread_mutex_lock(&bridges->mutex);
    forget_taps(bridges, network->id);
    remove_rules(home, network, device);
    (void)pthread_mutex_unlock(&bridges->mutex);
    if (link_get(device, &link) < 0 || !is_ours(bridges, network, &link))
        return;
    (void)line_set_network(&bridges->names, network->id, &(ShapeLine){0});
    int r = link_delete(link.index);
    if (r < 0)
        log_warning("cannot remove the bridge %s: %s", device, strerror(-r));
    (void)pthread_mutex_lock(&bridges->mutex);
    forget_taps(bridges, network->id); /* what filled its pool meanwhile */
    (void)pthread_mutex_unlock(&bridges->mutex);
}

/* ---- what went ---- */

static void plug_again(Bridges *bridges, const char *network) {
    char device[IFNAMSIZ];
    bridge_device_name(network, device);
    unsigned master = if_nametoindex(device);
    for (size_t i = 0; master && i < bridges->taps.count; i++)
        if (str_equal(bridges->taps.items[i].network, network))
            (void)link_change(bridges->taps.items[i].index, &(LinkChange){.master = master});
}

/* Two questions: in one, nft 1.0.6 looks for what the last command needs only. */
static bool tables_are_there(Bridges *bridges) {
    const char *table = bridges->names.table;
    _cleanup_free_ char *inet = str_format("list set inet %s networks\n", table);
    _cleanup_free_ char *bridge = str_format("list set bridge %s macs\n", table);
    return tables_run(bridges, inet, NULL) >= 0 && tables_run(bridges, bridge, NULL) >= 0;
}

static void isolate_again(Bridges *bridges, const NetworkRow *network) {
    for (size_t i = 0; network->data.isolated && i < bridges->taps.count; i++)
        if (str_equal(bridges->taps.items[i].network, network->id))
            (void)link_isolate(bridges->taps.items[i].index);
}

int bridge_repair(Home *home, const NetworkRow *network, Error *error) {
    Bridges *bridges = home->bridges;
    char device[IFNAMSIZ];
    bridge_device_name(network->id, device);
    bool gone = if_nametoindex(device) == 0;
    int r = make_whole(bridges, network, error);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&bridges->mutex);
    if (gone) {
        plug_again(bridges, network->id);
        isolate_again(bridges, network);
    }
    if (!tables_are_there(bridges))
        r = tables_tell_all(home, error);
    bridge_shape_again(bridges, network, bridges->fresh);
    (void)pthread_mutex_unlock(&bridges->mutex);
    if (gone)
        log_info("the bridge of network %s was gone, and is there again", network->name);
    return r;
}

/* ---- names ---- */

int bridge_name_socket(const NetworkRow *network, int *fd, Error *error) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    _cleanup_close_ int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1;
    (void)inet_pton(AF_INET, network->data.gateway, &address.sin_addr);
    if (made < 0)
        return error_set_errno(error, errno, "cannot make a socket");
    (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    (void)setsockopt(made, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
    if (bind(made, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = error_set(error, ERROR_CONFLICT, errno, "cannot answer names at %s:53: %s",
                          network->data.gateway, strerror(errno));
        error_set_hint(error, "have the host's name server listen at single addresses");
        return r;
    }
    *fd = TAKE_FD(made);
    return 0;
}
