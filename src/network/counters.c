/* SPDX-License-Identifier: Apache-2.0 */
#include "network/counters.h"

#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "home/op_lock.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/card_counters.h"
#include "network/describe_switch.h"
#include "network/network_lock.h"
#include "network/switch.h"
#include "proto/switch_client.h"

static json_t *number(uint64_t value) {
    return json_integer((json_int_t)MIN_OF(value, (uint64_t)INT64_MAX));
}

static json_t *describe(const SwitchCounters *counters) {
    json_t *drops = json_object();
    uint64_t dropped = 0;
    for (size_t i = 0; i < SWITCH_DROP_COUNT; i++) {
        if (counters->drops[i] == 0)
            continue;
        dropped += counters->drops[i];
        (void)json_object_set_new(drops, switch_drop_names[i], number(counters->drops[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "received_bytes",
                     number(counters->received_bytes), "received_packets",
                     number(counters->received_frames), "sent_bytes", number(counters->sent_bytes),
                     "sent_packets", number(counters->sent_frames), "dropped_packets",
                     number(dropped), "drops", drops);
}

static int add_port(void *data, const SwitchMessage *item) {
    (void)json_object_set_new(data, item->port.id, describe(&item->counters));
    return 0;
}

/* A card's use is its port's id. */
static void add_card(const char *use, const SwitchCounters *counters, void *data) {
    (void)json_object_set_new(data, use, describe(counters));
}

static void read_switch(Home *home, const NetworkRow *network, json_t *ports) {
    _cleanup_close_ int fd = -1;
    _cleanup_error_ Error error = ERROR_INIT;
    if (switch_open_running(home, network, &fd) >= 0 &&
        switch_client_list_ports(fd, add_port, ports, &error) < 0)
        log_warning("cannot read the counters of network %s: %s", network->name,
                    error_message(&error));
}

static void read_bridge(Home *home, const NetworkRow *network, json_t *ports) {
    int r = bridge_each_counters(home, network, add_card, ports);
    if (r < 0)
        log_warning("cannot read the counters of network %s: %s", network->name, strerror(-r));
}

static json_t *read_counters(Home *home, const char *name) {
    json_t *ports = json_object();
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    if (network_lock(home, name, &lock, &network, NULL) < 0)
        return ports;
    (network_is_bridge(&network) ? read_bridge : read_switch)(home, &network, ports);
    return ports;
}

const json_t *network_counters(Home *home, json_t *read, const char *name) {
    if (!json_object_get(read, name))
        (void)json_object_set_new(read, name, read_counters(home, name));
    return json_object_get(read, name);
}

const json_t *network_counters_of(const json_t *counters, const VmRow *vm, size_t card) {
    char id[SWITCH_ID_SIZE];
    switch_port_id(vm, card, id);
    return json_object_get(counters, id);
}
