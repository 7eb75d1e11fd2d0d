/* SPDX-License-Identifier: Apache-2.0 */

#include "network/sleep.h"

#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/cards.h"
#include "network/bridge/knock.h"
#include "network/describe_switch.h"
#include "network/doors.h"
#include "network/forwards.h"
#include "network/vm_ports.h"
#include "store/networks.h"

/* Whose its ports are. QEMU's own, of an earlier version's VM, are doors when that has ended. */
typedef enum Doors { DOORS_NONE, DOORS_SWITCH, DOORS_BRIDGE } Doors;

static size_t card_of(const VmRow *vm) {
    return (size_t)(vm_spec_forward_card(&vm->spec) - vm->spec.cards.items);
}

static Doors find_doors(Home *home, const VmRow *vm, NetworkRow *network) {
    const VmCard *card = vm_spec_forward_card(&vm->spec);
    if (vm->spec.forwards.count == 0 || !card || !network_has_port(vm, card_of(vm)))
        return DOORS_NONE;
    if (str_equal(card->network, NETWORK_USER_ID))
        return DOORS_SWITCH;
    if (networks_get(home->store, card->network, network, NULL) < 0)
        return DOORS_NONE;
    return network_is_bridge(network) ? DOORS_BRIDGE : DOORS_SWITCH;
}

static void report(const VmRow *vm, const Error *error) {
    log_warning("a port of %s: %s", vm->name, error_message(error));
}

static void describe(const VmRow *vm, const PortForward *forward, SwitchForward *told) {
    switch_describe_forward(vm, card_of(vm), forward, told);
}

/* ---- of a switch ---- */

static void shut(Home *home, const VmRow *vm, const PortForward *forward) {
    _cleanup_error_ Error error = ERROR_INIT;
    SwitchForward told;
    if (vm->runtime.keeper.pid > 0 && network_stop_forward(home, vm, forward, &error) < 0 &&
        error.kind != ERROR_NOT_FOUND)
        report(vm, &error);
    describe(vm, forward, &told);
    door_open(vm, &told);
}

static void open_again(Home *home, const VmRow *vm, const PortForward *forward) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (network_add_forward(home, vm, forward, &error) < 0)
        report(vm, &error);
}

static void for_each_forward(Home *home, const VmRow *vm,
                             void (*call)(Home *home, const VmRow *vm,
                                          const PortForward *forward)) {
    for (size_t i = 0; i < vm->spec.forwards.count; i++)
        call(home, vm, &vm->spec.forwards.items[i]);
}

/* ---- of a bridge ---- */

static void listen_for_knocks(Home *home, const NetworkRow *network, const VmRow *vm) {
    VmAddress address = vm_address(vm, card_of(vm));
    _cleanup_error_ Error error = ERROR_INIT;
    int fd = -1;
    if (door_is_open(vm->id))
        return;
    if (bridge_knock_open(home, network, &address, &fd, &error) >= 0)
        door_open_knock(vm, fd);
    else
        log_warning("connections do not wake %s: %s", vm->name, error_message(&error));
}

static void forget(Home *home, const VmRow *vm, const PortForward *forward) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (bridge_remove_forward(home, vm, card_of(vm), forward, &error) < 0 &&
        error.kind != ERROR_NOT_FOUND)
        report(vm, &error);
}

/* ---- both ---- */

void network_shut_doors(Home *home, const VmRow *vm) {
    _cleanup_network_row_ NetworkRow network = {0};
    Doors doors = find_doors(home, vm, &network);
    if (doors == DOORS_SWITCH)
        for_each_forward(home, vm, shut);
    else if (doors == DOORS_BRIDGE)
        listen_for_knocks(home, &network, vm);
}

void network_open_doors(Home *home, const VmRow *vm) {
    _cleanup_network_row_ NetworkRow network = {0};
    Doors doors = find_doors(home, vm, &network);
    if (doors == DOORS_SWITCH)
        for_each_forward(home, vm, open_again);
    else if (doors == DOORS_BRIDGE)
        doors_close(vm->id);
}

void network_close_doors(Home *home, const VmRow *vm) {
    _cleanup_network_row_ NetworkRow network = {0};
    doors_close(vm->id);
    if (vm->runtime.timers.dozing && find_doors(home, vm, &network) == DOORS_BRIDGE)
        for_each_forward(home, vm, forget);
}

/* A first one over a bridge has it listen for knocks, too. */
static int change_bridge(Home *home, const NetworkRow *network, const VmRow *vm,
                         const PortForward *forward, bool remove, Error *error) {
    if (remove)
        return bridge_remove_forward(home, vm, card_of(vm), forward, error);
    listen_for_knocks(home, network, vm);
    return bridge_add_forward(home, vm, card_of(vm), forward, error);
}

int network_change_door(Home *home, const VmRow *vm, const PortForward *forward, bool remove,
                        Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    Doors doors = find_doors(home, vm, &network);
    SwitchForward told;
    if (doors == DOORS_BRIDGE)
        return change_bridge(home, &network, vm, forward, remove, error);
    if (doors == DOORS_NONE)
        return 0;
    describe(vm, forward, &told);
    if (remove)
        door_close(&told);
    else
        door_open(vm, &told);
    return 0;
}
