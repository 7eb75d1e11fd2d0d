/* SPDX-License-Identifier: Apache-2.0 */

#include "network/network_lock.h"

#include "home/inside.h"

int network_lock(Home *home, const char *name, OpLock **lock, NetworkRow *network, Error *error) {
    _cleanup_network_row_ NetworkRow found = {0};
    int r = networks_get(home->store, name, &found, error);
    if (r >= 0)
        r = op_lock(home->locks, found.id, "changing", -1, lock, error);
    return r < 0 ? r : networks_get(home->store, name, network, error); /* as it is by now */
}
