/* SPDX-License-Identifier: Apache-2.0 */

#include "network/network_lock.h"

#include "base/str.h"
#include "home/inside.h"
#include "network/user_network.h"

static int lock_user(Home *home, OpLock **lock, NetworkRow *network, Error *error) {
    int r = op_lock(home->locks, NETWORK_USER_ID, "changing", -1, lock, error);
    return r < 0 ? r : user_network_open(home, network, error);
}

int network_lock(Home *home, const char *name, OpLock **lock, NetworkRow *network, Error *error) {
    _cleanup_network_row_ NetworkRow found = {0};
    if (str_equal(name, NETWORK_USER_ID))
        return lock_user(home, lock, network, error);
    int r = networks_get(home->store, name, &found, error);
    if (r >= 0)
        r = op_lock(home->locks, found.id, "changing", -1, lock, error);
    return r < 0 ? r : networks_get(home->store, name, network, error); /* as it is by now */
}
