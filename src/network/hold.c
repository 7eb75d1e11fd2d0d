/* SPDX-License-Identifier: Apache-2.0 */

/* Nothing of it is kept in the store: a hold whose daemon died ends with the next daemon's start,
 * or after SWITCH_HOLD_MAX_USEC. */

#include "network/hold.h"

#include "base/fd.h"
#include "base/log.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "network/network_lock.h"
#include "network/revive.h"
#include "network/switch.h"
#include "proto/switch_client.h"
#include "store/networks.h"

/* ---- one network ---- */

static int hold(Home *home, const char *name, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_close_ int fd = -1;
    int r = network_lock(home, name, &lock, &network, error);
    if (r >= 0)
        r = network_open_switch(home, &network, &fd, error);
    return r < 0 ? r : switch_client_hold(fd, error);
}

static void release(Home *home, const char *name) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_close_ int fd = -1;
    if (network_lock(home, name, &lock, &network, NULL) < 0 ||
        switch_open_running(home, &network, &fd) < 0)
        return;
    if (switch_client_release(fd, false, &error) < 0)
        log_warning("network %s goes on in a minute: %s", name, error_message(&error));
}

/* ---- several ---- */

static bool has(const StrList *names, const char *name) {
    for (size_t i = 0; i < names->count; i++)
        if (str_equal(names->items[i], name))
            return true;
    return false;
}

static int hold_cards(NetworkHolds *holds, const VmCards *cards, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < cards->count; i++) {
        const char *name = cards->items[i].network;
        if (!vm_network_is_named(name) || has(&holds->names, name))
            continue;
        strlist_add(&holds->names, name);
        r = hold(holds->home, name, error);
    }
    return r;
}

int network_holds_begin(Home *home, const VmRow *vms, size_t count, NetworkHolds *holds,
                        Error *error) {
    int r = 0;
    *holds = (NetworkHolds){.home = home};
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = hold_cards(holds, &vms[i].spec.cards, error);
    if (r < 0)
        network_holds_end(holds);
    return r;
}

void network_holds_end(NetworkHolds *holds) {
    for (size_t i = 0; i < holds->names.count; i++)
        release(holds->home, holds->names.items[i]);
    strlist_free(&holds->names);
}

static void recover(Home *home, void *data) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    (void)data;
    if (networks_list(home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        release(home, rows[i].name);
    network_rows_free(rows, count);
}

void network_holds_recover(Home *home) {
    if (home_work(home, recover, NULL) < 0)
        log_warning("networks that a daemon before this one stopped go on in a minute");
}
