/* SPDX-License-Identifier: Apache-2.0 */
#include "network/switch_uid.h"

#include "home/inside.h"

static bool is_taken(const NetworkRow *user, const NetworkRow *rows, size_t count, uint32_t uid) {
    for (size_t i = 0; i < count; i++)
        if (rows[i].data.uid == uid)
            return true;
    return user->data.uid == uid;
}

/* VMs take theirs from the range's other end. */
unsigned switch_uid_choose(Home *home, const NetworkRow *rows, size_t count) {
    _cleanup_network_row_ NetworkRow user = {0};
    uint32_t uid = home->uid_first + home->uid_count - 1;
    if (home->uid_count <= count + 1)
        return 0;
    (void)networks_get_user(home->store, &user, NULL);
    while (is_taken(&user, rows, count, uid))
        uid--;
    return uid;
}
