/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/addresses.h"

#include "base/str.h"
#include "home/identity.h"
#include "proto/user_network.h"

static const char *address_in(const char *network) {
    return str_equal(network, "user") ? USER_NETWORK_GUEST : "";
}

void vm_plan_addresses(VmRow *row) {
    const VmCards *cards = &row->spec.cards;
    VmRuntime *run = &row->runtime;
    run->further.count = 0;
    str_set(run->ip, address_in(cards->items[0].network));
    for (size_t i = 1; i < cards->count; i++) {
        VmAddress *address = &run->further.items[run->further.count++];
        identity_mac(address->mac);
        str_set(address->ip, address_in(cards->items[i].network));
    }
}
