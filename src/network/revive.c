/* SPDX-License-Identifier: Apache-2.0 */

#include "network/revive.h"

#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "network/bridge/bridge_part.h"
#include "network/bridge/bridges.h"
#include "network/bridge/tap_pool.h"
#include "network/describe_switch.h"
#include "network/ends.h"
#include "network/network_lock.h"
#include "network/plug.h"
#include "network/switch.h"
#include "network/switch_watch.h"
#include "network/vm_ports.h"
#include "proto/switch_client.h"
#include "store/network/leases.h"

/* Of a VM that does not run, or is about to end, there is nothing to restore. */
static void restore_port(Home *home, int fd, const NetworkRow *network, const VmRow *vm,
                         size_t card) {
    _cleanup_ends_ Ends ends = ENDS_INIT;
    _cleanup_error_ Error error = ERROR_INIT;
    if (vm->runtime.keeper.pid <= 0 || card >= vm->spec.cards.count || !network_has_port(vm, card))
        return;
    if (!network_is_bridge(network) && (ends_ask(home, vm, &ends, NULL) < 0 || ends.fds[card] < 0))
        return;
    if (plug_set_port(fd, network, vm, card, ends.fds[card], &error) < 0)
        log_warning("cannot plug %s into its network again: %s", vm->name, error_message(&error));
}

static void restore_lease(Home *home, int fd, const NetworkRow *network, const LeaseRow *lease) {
    _cleanup_vm_row_ VmRow vm = {0};
    if (vms_get(home->store, lease->vm, &vm, NULL) >= 0)
        restore_port(home, fd, network, &vm, lease->card);
}

/* There are no leases of it. */
static void restore_user(Home *home, int fd, const NetworkRow *network) {
    VmRow *vms = NULL;
    size_t count = 0;
    if (vms_list(home->store, &vms, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        for (size_t card = 0; card < vms[i].spec.cards.count; card++)
            if (str_equal(vms[i].spec.cards.items[card].network, NETWORK_USER_ID))
                restore_port(home, fd, network, &vms[i], card);
    vm_rows_free(vms, count);
}

static void restore_ports(Home *home, int fd, const NetworkRow *network) {
    _cleanup_free_ LeaseRow *leases = NULL;
    size_t count = 0;
    if (network_is_user(network)) {
        restore_user(home, fd, network);
        return;
    }
    if (leases_list(home->store, network->id, &leases, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        restore_lease(home, fd, network, &leases[i]);
}

static int open_names(int fd, const NetworkRow *network, Error *error) {
    _cleanup_close_ int names = -1;
    int r = bridge_name_socket(network, &names, error);
    return r < 0 ? r : switch_client_set_names(fd, names, error);
}

int network_open_switch(Home *home, NetworkRow *network, int *fd, Error *error) {
    bool fresh = false;
    int r = switch_open(home, network, fd, &fresh, error);
    if (r >= 0 && fresh && network_is_bridge(network))
        r = open_names(*fd, network, error);
    if (r < 0 || !fresh)
        return r;
    if (!impairment_is_none(&network->data.impair))
        r = plug_impair_network(*fd, network, error); /* before a frame can pass */
    restore_ports(home, *fd, network);
    return r;
}

/* ---- switches that end ---- */

static bool is_plugged_into_user(const VmRow *vm) {
    bool found = false;
    for (size_t i = 0; i < vm->spec.cards.count; i++)
        found |=
            str_equal(vm->spec.cards.items[i].network, NETWORK_USER_ID) && network_has_port(vm, i);
    return found && vm->runtime.keeper.pid > 0;
}

static bool has_running_users(Home *home) {
    VmRow *vms = NULL;
    size_t count = 0;
    bool found = false;
    if (vms_list(home->store, &vms, &count, NULL) < 0)
        return false;
    for (size_t i = 0; i < count && !found; i++)
        found = is_plugged_into_user(&vms[i]);
    vm_rows_free(vms, count);
    return found;
}

static bool has_running_vms(Home *home, const NetworkRow *network) {
    _cleanup_free_ LeaseRow *leases = NULL;
    size_t count = 0;
    bool found = false;
    if (network_is_user(network))
        return has_running_users(home);
    if (leases_list(home->store, network->id, &leases, &count, NULL) < 0)
        return false;
    for (size_t i = 0; i < count && !found; i++) {
        _cleanup_vm_row_ VmRow vm = {0};
        found = vms_get(home->store, leases[i].vm, &vm, NULL) >= 0 && vm.runtime.keeper.pid > 0;
    }
    return found;
}

static void revive(Home *home, const NetworkRow *gone) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int fd = -1;
    if (home_is_closing(home) || !has_running_vms(home, gone) ||
        network_lock(home, gone->name, &lock, &network, NULL) < 0)
        return;
    if (network_open_switch(home, &network, &fd, &error) < 0)
        log_warning("the network %s stays without a switch: %s", network.name,
                    error_message(&error));
    else
        log_info("the switch of network %s ended, and was started anew", network.name);
}

static void revive_by_id(Home *home, void *data) {
    _cleanup_free_ char *id = data;
    _cleanup_network_row_ NetworkRow user = {0};
    NetworkRow *rows = NULL;
    size_t count = 0;
    if (str_equal(id, NETWORK_USER_ID) && networks_get_user(home->store, &user, NULL) > 0)
        revive(home, &user);
    if (networks_list(home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (str_equal(rows[i].id, id))
            revive(home, &rows[i]);
    network_rows_free(rows, count);
}

static void on_ended(Home *home, const char *id) {
    char *copy = str_copy(id);
    if (home_is_closing(home) || home_work(home, revive_by_id, copy) < 0)
        free(copy);
}

/* One of the bridges, or the tables, went: each network is looked at. */
static void repair_bridges(Home *home) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    if (networks_list(home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        _cleanup_network_row_ NetworkRow network = {0};
        _cleanup_op_lock_ OpLock *lock = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        if (!network_is_bridge(&rows[i]) ||
            network_lock(home, rows[i].name, &lock, &network, NULL) < 0)
            continue;
        if (bridge_repair(home, &network, &error) < 0)
            log_warning("network %s stays without a bridge: %s", network.name,
                        error_message(&error));
        else
            tap_pool_fill_later(home, &network);
    }
    network_rows_free(rows, count);
}

static void look_after(Home *home, const NetworkRow *network) {
    if (network->data.process.pid > 0 &&
        switch_watch_add(home, network->id, &network->data.process, NULL) < 0)
        on_ended(home, network->id);
}

int network_attach_start(Home *home, Error *error) {
    _cleanup_network_row_ NetworkRow user = {0};
    NetworkRow *rows = NULL;
    size_t count = 0;
    int r = bridges_start(home, repair_bridges, error);
    if (r >= 0)
        r = switch_watch_start(home, on_ended, error);
    if (r >= 0)
        r = networks_list(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        look_after(home, &rows[i]);
    if (r >= 0 && networks_get_user(home->store, &user, NULL) > 0)
        look_after(home, &user);
    network_rows_free(rows, count);
    return r;
}
