/* SPDX-License-Identifier: Apache-2.0 */
#include "network/bridge/card_counters.h"

#include <string.h>

#include "base/str.h"
#include "network/bridge/bridge_inside.h"
#include "network/bridge/link.h"

typedef struct Each {
    const BridgeNames *names;
    const NetworkRow *network;
    void (*call)(const char *use, const SwitchCounters *counters, void *data);
    void *data;
} Each;

/* What the host received of a device, a guest sent. */
static void on_link(const Link *link, void *data) {
    const Each *each = data;
    char network[VM_ID_SIZE], use[BRIDGE_USE_SIZE];
    SwitchCounters counters = {.received_bytes = link->sent_bytes,
                               .received_frames = link->sent_frames,
                               .sent_bytes = link->received_bytes,
                               .sent_frames = link->received_frames};
    if (!bridge_alias_parse(each->names, link->alias, network, use) || !strchr(use, '/') ||
        !str_equal(network, each->network->id))
        return;
    counters.drops[SWITCH_DROP_QUEUE] = link->sent_dropped;
    each->call(use, &counters, each->data);
}

int bridge_each_counters(Home *home, const NetworkRow *network,
                         void (*call)(const char *use, const SwitchCounters *counters, void *data),
                         void *data) {
    Each each = {&home->bridges->names, network, call, data};
    return link_each(on_link, &each);
}
