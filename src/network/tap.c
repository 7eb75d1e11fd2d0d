/* SPDX-License-Identifier: Apache-2.0 */

#include "network/tap.h"

#include "home/inside.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/cards.h"

bool network_wants_tap(Home *home, const char *network) {
    _cleanup_network_row_ NetworkRow row = {0};
    return networks_get(home->store, network, &row, NULL) >= 0 && network_is_bridge(&row);
}

int network_take_tap(Home *home, const VmRow *vm, size_t card, int *fd, Error *error) {
    _cleanup_network_row_ NetworkRow row = {0};
    int r = networks_get(home->store, vm->spec.cards.items[card].network, &row, error);
    return r < 0 ? r : bridge_take_tap(home, &row, vm, card, fd, error);
}
