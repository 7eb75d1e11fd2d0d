/* SPDX-License-Identifier: Apache-2.0 */

#include "network/forwards.h"

#include "base/fd.h"
#include "home/op_lock.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/cards.h"
#include "network/describe_switch.h"
#include "network/doors.h"
#include "network/network_lock.h"
#include "network/plug.h"
#include "network/revive.h"
#include "proto/switch_client.h"

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
        return change_on_bridge(home, vm, forward, change == plug_add_forward, error);
    if (r >= 0)
        r = network_open_switch(home, &network, &fd, error);
    if (r < 0)
        return r;
    describe_forward(vm, forward, &told);
    return change(fd, &told, error);
}

int network_add_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error) {
    return change_forward(home, vm, forward, plug_add_forward, error);
}

int network_stop_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error) {
    return change_forward(home, vm, forward, switch_client_remove_forward, error);
}

int network_remove_forward(Home *home, const VmRow *vm, const PortForward *forward, Error *error) {
    SwitchForward told;
    describe_forward(vm, forward, &told);
    door_close(&told);
    return network_stop_forward(home, vm, forward, error);
}
