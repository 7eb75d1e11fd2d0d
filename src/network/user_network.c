/* SPDX-License-Identifier: Apache-2.0 */
#include "network/user_network.h"

#include "base/clock.h"
#include "base/str.h"
#include "home/inside.h"
#include "network/switch_uid.h"
#include "proto/user_network.h"

static int insert(Home *home, Error *error) {
    NetworkRow row = {.id = NETWORK_USER_ID,
                      .name = NETWORK_USER_ID,
                      .created_at_usec = clock_realtime_usec(),
                      .data = {.backend = "switch",
                               .subnet = USER_NETWORK_SUBNET,
                               .prefix = USER_NETWORK_PREFIX,
                               .gateway = USER_NETWORK_GATEWAY,
                               .isolated = true}};
    NetworkRow *rows = NULL;
    size_t count = 0;
    int r = networks_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    row.data.uid = switch_uid_choose(home, rows, count);
    network_rows_free(rows, count);
    return networks_insert(home->store, &row, error);
}

static int make(Home *home, Error *error) {
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = insert(home, error);
    if (r >= 0)
        return store_commit(home->store, error);
    store_rollback(home->store);
    return r;
}

int user_network_open(Home *home, NetworkRow *network, Error *error) {
    int r = networks_get_user(home->store, network, error);
    if (r == 0)
        r = make(home, error);
    else
        return MIN_OF(r, 0);
    if (r >= 0)
        r = networks_get_user(home->store, network, error);
    return MIN_OF(r, 0);
}
