/* SPDX-License-Identifier: Apache-2.0 */

#include "network/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "network/bridge/bridge_part.h"
#include "network/bridge/bridges.h"
#include "network/bridge/cards.h"
#include "network/bridge/impair.h"
#include "network/bridge/tap_pool.h"
#include "network/describe_switch.h"
#include "network/doors.h"
#include "network/limit.h"
#include "network/low_port.h"
#include "network/network_lock.h"
#include "network/switch.h"
#include "network/switch_watch.h"
#include "proto/keeper.h"
#include "proto/switch_client.h"
#include "store/leases.h"

#define KEEPER_TIMEOUT_USEC (10 * USEC_PER_SEC)

bool network_has_ports(const VmRow *vm) {
    for (size_t i = 0; i < vm->spec.cards.count; i++)
        if (vm_network_is_named(vm->spec.cards.items[i].network))
            return !*vm->runtime.hidden;
    return false;
}

/* ---- one port ----
 *
 * A switch has all of it. Over a bridge it has the name only: frames and forwards are the host's
 * (network/bridge/cards.h). */

static int add_forward(int fd, const SwitchForward *forward, Error *error) {
    int door = door_take(forward);
    _cleanup_close_ int socket_fd = door >= 0 ? door : low_port_open(forward);
    return switch_client_add_forward(fd, forward, socket_fd, error);
}

static int add_forwards(int fd, const VmRow *vm, size_t card, Error *error) {
    int r = 0;
    if (vm_spec_forward_card(&vm->spec) != &vm->spec.cards.items[card])
        return 0;
    if (vm->runtime.timers.dozing) /* network_open_doors, once it can answer */
        return 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.forwards.count; i++) {
        SwitchForward forward;
        switch_describe_forward(vm, card, &vm->spec.forwards.items[i], &forward);
        door_open(vm, &forward);
        r = add_forward(fd, &forward, error);
    }
    return r;
}

/* What leads to the card of those that are the VM's. */
static size_t count_forwards(const VmRow *vm, size_t card) {
    bool leads = vm_spec_forward_card(&vm->spec) == &vm->spec.cards.items[card];
    return leads ? vm->spec.forwards.count : 0;
}

static int plug_into_bridge(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                            Error *error) {
    return bridge_attach(home, network, vm, card, vm->spec.forwards.items, count_forwards(vm, card),
                         error);
}

static int impair_port(int fd, const VmRow *vm, size_t card, Error *error) {
    char id[SWITCH_ID_SIZE];
    SwitchImpair told;
    if (impairment_is_none(&vm->runtime.impair))
        return 0;
    switch_port_id(vm, card, id);
    switch_describe_impair(&vm->runtime.impair, false, &told);
    return switch_client_impair(fd, id, &told, error);
}

/* What is there of it already is set anew. */
static int set_port(int fd, const NetworkRow *network, const VmRow *vm, size_t card, int port_fd,
                    Error *error) {
    SwitchPort port;
    switch_describe_port(vm, card, &port);
    int r = switch_client_set_port(fd, &port, port_fd, error);
    if (r < 0 || network_is_bridge(network))
        return r;
    r = impair_port(fd, vm, card, error);
    if (r >= 0 && !net_limit_is_none(&vm->spec.net_limit))
        r = network_limit_port(fd, vm, card, error);
    return r < 0 ? r : add_forwards(fd, vm, card, error);
}

static void remove_port(int fd, const VmRow *vm, size_t card) {
    char id[SWITCH_ID_SIZE];
    _cleanup_error_ Error error = ERROR_INIT;
    switch_port_id(vm, card, id);
    if (switch_client_remove_port(fd, id, &error) < 0 && error.kind != ERROR_NOT_FOUND)
        log_warning("cannot unplug %s: %s", vm->name, error_message(&error));
}

/* ---- a switch that was started anew ---- */

typedef struct Ends {
    int fds[PLAN_CARDS_MAX]; /* owned; -1: none */
} Ends;

static void ends_close(Ends *ends) {
    for (size_t i = 0; i < ARRAY_SIZE(ends->fds); i++)
        ends->fds[i] = fd_close(ends->fds[i]);
}

static int ask_ends(Home *home, const VmRow *vm, Ends *ends, Error *error) {
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, vm->id, &dir_fd, error);
    memset(ends->fds, 0xff, sizeof(ends->fds));
    return r < 0 ? r
                 : keeper_ask_peers(dir_fd, ends->fds, clock_monotonic_usec() + KEEPER_TIMEOUT_USEC,
                                    error);
}

/* Of a VM that does not run, or is about to end, there is nothing to restore. */
static void restore_port(Home *home, int fd, const NetworkRow *network, const LeaseRow *lease) {
    _cleanup_(ends_close) Ends ends = {.fds = {-1, -1, -1, -1}};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_vm_row_ VmRow vm = {0};
    if (vms_get(home->store, lease->vm, &vm, NULL) < 0 || vm.runtime.keeper.pid <= 0 ||
        *vm.runtime.hidden || lease->card >= ARRAY_SIZE(ends.fds))
        return;
    if (!network_is_bridge(network) &&
        (ask_ends(home, &vm, &ends, NULL) < 0 || ends.fds[lease->card] < 0))
        return;
    if (set_port(fd, network, &vm, lease->card, ends.fds[lease->card], &error) < 0)
        log_warning("cannot plug %s into its network again: %s", vm.name, error_message(&error));
}

static void restore_ports(Home *home, int fd, const NetworkRow *network) {
    _cleanup_free_ LeaseRow *leases = NULL;
    size_t count = 0;
    if (leases_list(home->store, network->id, &leases, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        restore_port(home, fd, network, &leases[i]);
}

static int tell_impairment(int fd, const NetworkRow *network, Error *error) {
    SwitchImpair told;
    switch_describe_impair(&network->data.impair, true, &told);
    return switch_client_impair(fd, NULL, &told, error);
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
    restore_ports(home, *fd, network);
    return impairment_is_none(&network->data.impair) ? 0 : tell_impairment(*fd, network, error);
}

/* ---- the operations ---- */

static int attach_card(Home *home, const VmRow *vm, size_t card, int port_fd, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_close_ int fd = -1;
    int r = network_lock(home, vm->spec.cards.items[card].network, &lock, &network, error);
    if (r >= 0)
        r = network_open_switch(home, &network, &fd, error);
    if (r >= 0)
        r = set_port(fd, &network, vm, card, port_fd, error);
    if (r >= 0 && network_is_bridge(&network))
        r = plug_into_bridge(home, &network, vm, card, error);
    return r;
}

int network_attach(Home *home, const VmRow *vm, const int *port_fds, Error *error) {
    int r = 0;
    if (!network_has_ports(vm))
        return 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.cards.count; i++)
        if (vm_network_is_named(vm->spec.cards.items[i].network))
            r = attach_card(home, vm, i, port_fds[i], error);
    if (r < 0)
        network_detach(home, vm);
    return r;
}

int network_attach_kept(Home *home, const VmRow *vm, Error *error) {
    _cleanup_(ends_close) Ends ends = {.fds = {-1, -1, -1, -1}};
    if (!network_has_ports(vm))
        return 0;
    int r = ask_ends(home, vm, &ends, error);
    return r < 0 ? r : network_attach(home, vm, ends.fds, error);
}

/* Calls for each named card whose network's switch runs. */
static void for_each_port(Home *home, const VmRow *vm,
                          void (*call)(int fd, const VmRow *vm, size_t card)) {
    for (size_t i = 0; network_has_ports(vm) && i < vm->spec.cards.count; i++) {
        const char *name = vm->spec.cards.items[i].network;
        _cleanup_network_row_ NetworkRow network = {0};
        _cleanup_op_lock_ OpLock *lock = NULL;
        _cleanup_close_ int fd = -1;
        if (vm_network_is_named(name) && network_lock(home, name, &lock, &network, NULL) >= 0 &&
            switch_open_running(home, &network, &fd) >= 0)
            call(fd, vm, i);
    }
}

void network_detach(Home *home, const VmRow *vm) {
    if (!vm->runtime.timers.dozing || vm->state == STATE_REMOVING)
        doors_close(vm->id);
    for_each_port(home, vm, remove_port);
    bridge_release(home, vm);
}

static int change_on_bridge(Home *home, const VmRow *vm, const PortForward *forward, bool add,
                            Error *error) {
    size_t card = (size_t)(vm_spec_forward_card(&vm->spec) - vm->spec.cards.items);
    return add ? bridge_add_forward(home, vm, card, forward, error)
               : bridge_remove_forward(home, vm, card, forward, error);
}

static void describe_forward(const VmRow *vm, const PortForward *forward, SwitchForward *told) {
    const VmCard *card = vm_spec_forward_card(&vm->spec);
    switch_describe_forward(vm, (size_t)(card - vm->spec.cards.items), forward, told);
}

static int change_forward(Home *home, const VmRow *vm, const PortForward *forward,
                          int (*change)(int fd, const SwitchForward *forward, Error *error),
                          Error *error) {
    const VmCard *card = vm_spec_forward_card(&vm->spec);
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_close_ int fd = -1;
    SwitchForward told;
    int r = network_lock(home, card->network, &lock, &network, error);
    if (r >= 0 && network_is_bridge(&network))
        return change_on_bridge(home, vm, forward, change == add_forward, error);
    if (r >= 0)
        r = network_open_switch(home, &network, &fd, error);
    if (r < 0)
        return r;
    describe_forward(vm, forward, &told);
    return change(fd, &told, error);
}

int network_add_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error) {
    return change_forward(home, vm, forward, add_forward, error);
}

int network_remove_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error) {
    SwitchForward told;
    describe_forward(vm, forward, &told);
    door_close(&told);
    return change_forward(home, vm, forward, switch_client_remove_forward, error);
}

/* ---- doors ---- */

/* Where its forwards are a switch's; a bridge's are no sockets. */
static bool has_doors(Home *home, const VmRow *vm) {
    const VmCard *card = vm_spec_forward_card(&vm->spec);
    _cleanup_network_row_ NetworkRow network = {0};
    return vm->spec.forwards.count > 0 && card && vm_network_is_named(card->network) &&
           networks_get(home->store, card->network, &network, NULL) >= 0 &&
           !network_is_bridge(&network);
}

void network_shut_doors(Home *home, const VmRow *vm) {
    for (size_t i = 0; has_doors(home, vm) && i < vm->spec.forwards.count; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        SwitchForward told;
        if (vm->runtime.keeper.pid > 0 &&
            change_forward(home, vm, &vm->spec.forwards.items[i], switch_client_remove_forward,
                           &error) < 0 &&
            error.kind != ERROR_NOT_FOUND)
            log_warning("a port of %s: %s", vm->name, error_message(&error));
        describe_forward(vm, &vm->spec.forwards.items[i], &told);
        door_open(vm, &told);
    }
}

void network_open_doors(Home *home, const VmRow *vm) {
    for (size_t i = 0; has_doors(home, vm) && i < vm->spec.forwards.count; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        if (network_add_forward(home, vm, &vm->spec.forwards.items[i], &error) < 0)
            log_warning("a port of %s: %s", vm->name, error_message(&error));
    }
}

static void tell_port(int fd, const VmRow *vm, size_t card) {
    _cleanup_error_ Error error = ERROR_INIT;
    SwitchPort port;
    switch_describe_port(vm, card, &port);
    if (switch_client_set_port(fd, &port, -1, &error) < 0)
        log_warning("cannot tell the name of %s to its network: %s", vm->name,
                    error_message(&error));
}

void network_update_vm(Home *home, const VmRow *vm) {
    for_each_port(home, vm, tell_port);
}

/* ---- switches that end ---- */

static bool has_running_vms(Home *home, const NetworkRow *network) {
    _cleanup_free_ LeaseRow *leases = NULL;
    size_t count = 0;
    bool found = false;
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
    NetworkRow *rows = NULL;
    size_t count = 0;
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

int network_attach_start(Home *home, Error *error) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    int r = bridges_start(home, repair_bridges, error);
    if (r >= 0)
        r = switch_watch_start(home, on_ended, error);
    if (r >= 0)
        r = networks_list(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (rows[i].data.process.pid > 0 &&
            switch_watch_add(home, rows[i].id, &rows[i].data.process, NULL) < 0)
            on_ended(home, rows[i].id);
    network_rows_free(rows, count);
    return r;
}

/* ---- impairment ---- */

int network_check_impairment(Home *home, const VmRow *vm, const Impairment *impairment,
                             Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.cards.count; i++) {
        _cleanup_network_row_ NetworkRow network = {0};
        const char *name = vm->spec.cards.items[i].network;
        if (vm_network_is_named(name) && networks_get(home->store, name, &network, NULL) >= 0 &&
            network_is_bridge(&network))
            r = bridge_check_impairment(home, impairment, error);
    }
    return r;
}

static int impair_switch(Home *home, NetworkRow *network, Error *error) {
    _cleanup_close_ int fd = -1;
    return switch_open_running(home, network, &fd) >= 0 ? tell_impairment(fd, network, error) : 0;
}

int network_impair(Home *home, const char *name, const Impairment *impairment, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    int r = network_lock(home, name, &lock, &network, error);
    if (r >= 0 && network_is_bridge(&network))
        r = bridge_check_impairment(home, impairment, error);
    if (r < 0)
        return r;
    network.data.impair = *impairment;
    r = networks_update(home->store, &network, error);
    if (r < 0)
        return r;
    return network_is_bridge(&network) ? bridge_impair_network(home, &network, error)
                                       : impair_switch(home, &network, error);
}

static int tell_port_impairment(Home *home, NetworkRow *network, const VmRow *vm, size_t card,
                                Error *error) {
    _cleanup_close_ int fd = -1;
    char id[SWITCH_ID_SIZE];
    SwitchImpair told;
    if (network_is_bridge(network))
        return bridge_impair_card(home, network, vm, card, error);
    if (switch_open_running(home, network, &fd) < 0)
        return 0;
    switch_port_id(vm, card, id);
    switch_describe_impair(&vm->runtime.impair, false, &told);
    return switch_client_impair(fd, id, &told, error);
}

void network_impair_vm(Home *home, const VmRow *vm) {
    for (size_t i = 0; network_has_ports(vm) && i < vm->spec.cards.count; i++) {
        const char *name = vm->spec.cards.items[i].network;
        _cleanup_network_row_ NetworkRow network = {0};
        _cleanup_op_lock_ OpLock *lock = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        if (vm_network_is_named(name) && network_lock(home, name, &lock, &network, NULL) >= 0 &&
            tell_port_impairment(home, &network, vm, i, &error) < 0)
            log_warning("cannot impair the network of %s: %s", vm->name, error_message(&error));
    }
}
