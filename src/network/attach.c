/* SPDX-License-Identifier: Apache-2.0 */

#include "network/attach.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "network/bridge/cards.h"
#include "network/bridge/impair.h"
#include "network/describe_switch.h"
#include "network/ends.h"
#include "network/network_lock.h"
#include "network/plug.h"
#include "network/revive.h"
#include "network/sleep.h"
#include "network/switch.h"
#include "proto/switch_client.h"

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

/* ---- the operations ---- */

static int attach_card(Home *home, const VmRow *vm, size_t card, int port_fd, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_close_ int fd = -1;
    int r = network_lock(home, vm->spec.cards.items[card].network, &lock, &network, error);
    if (r >= 0)
        r = network_open_switch(home, &network, &fd, error);
    if (r >= 0)
        r = plug_set_port(fd, &network, vm, card, port_fd, error);
    if (r >= 0 && network_is_bridge(&network))
        r = plug_into_bridge(home, &network, vm, card, error);
    return r;
}

int network_attach(Home *home, const VmRow *vm, const int *port_fds, Error *error) {
    int r = 0;
    if (!network_has_ports(vm))
        return 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.cards.count; i++)
        if (network_has_port(vm, i))
            r = attach_card(home, vm, i, port_fds[i], error);
    if (r < 0)
        network_detach(home, vm);
    return r;
}

/* Who was hidden in the network user is plugged in already, unless a switch came meanwhile. */
static bool is_user_only(const VmRow *vm) {
    bool user = true;
    for (size_t i = 0; i < vm->spec.cards.count; i++)
        user &= !vm_network_is_named(vm->spec.cards.items[i].network);
    return user;
}

int network_attach_kept(Home *home, const VmRow *vm, Error *error) {
    _cleanup_ends_ Ends ends = ENDS_INIT;
    _cleanup_error_ Error unknown = ERROR_INIT;
    int r;
    if (!network_has_ports(vm))
        return 0;
    if (is_user_only(vm)) {
        r = network_attach(home, vm, ends.fds, &unknown);
        if (r >= 0 || unknown.kind != ERROR_NOT_FOUND)
            return r < 0 ? error_move(error, &unknown) : r;
    }
    r = ends_ask(home, vm, &ends, error);
    return r < 0 ? r : network_attach(home, vm, ends.fds, error);
}

/* Calls for each named card whose network's switch runs. */
static void for_each_port(Home *home, const VmRow *vm,
                          void (*call)(int fd, const VmRow *vm, size_t card)) {
    for (size_t i = 0; i < vm->spec.cards.count; i++) {
        const char *name = vm->spec.cards.items[i].network;
        _cleanup_network_row_ NetworkRow network = {0};
        _cleanup_op_lock_ OpLock *lock = NULL;
        _cleanup_close_ int fd = -1;
        if (network_has_port(vm, i) && network_lock(home, name, &lock, &network, NULL) >= 0 &&
            switch_open_running(home, &network, &fd) >= 0)
            call(fd, vm, i);
    }
}

void network_detach(Home *home, const VmRow *vm) {
    bool sleeps = vm->runtime.timers.dozing && vm->state != STATE_REMOVING;
    if (!sleeps)
        network_close_doors(home, vm);
    for_each_port(home, vm, plug_remove_port);
    bridge_release(home, vm, sleeps);
}

static void tell_port(int fd, const VmRow *vm, size_t card) {
    _cleanup_error_ Error error = ERROR_INIT;
    SwitchPort port;
    switch_describe_port(vm, card, &port);
    if (switch_client_set_port(fd, &port, NULL, NULL, -1, &error) < 0)
        log_warning("cannot tell the name of %s to its network: %s", vm->name,
                    error_message(&error));
}

void network_update_vm(Home *home, const VmRow *vm) {
    for_each_port(home, vm, tell_port);
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
    return switch_open_running(home, network, &fd) >= 0 ? plug_impair_network(fd, network, error)
                                                        : 0;
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
    for (size_t i = 0; i < vm->spec.cards.count; i++) {
        const char *name = vm->spec.cards.items[i].network;
        _cleanup_network_row_ NetworkRow network = {0};
        _cleanup_op_lock_ OpLock *lock = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        if (network_has_port(vm, i) && network_lock(home, name, &lock, &network, NULL) >= 0 &&
            tell_port_impairment(home, &network, vm, i, &error) < 0)
            log_warning("cannot impair the network of %s: %s", vm->name, error_message(&error));
    }
}
