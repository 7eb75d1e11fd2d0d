/* SPDX-License-Identifier: Apache-2.0 */

#include "network/limit.h"

#include "base/fd.h"
#include "home/op_lock.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/cards.h"
#include "network/describe_switch.h"
#include "network/network_lock.h"
#include "network/switch.h"
#include "network/vm_ports.h"
#include "proto/switch_client.h"

int network_limit_port(int fd, const VmRow *vm, size_t card, Error *error) {
    SwitchLimit told;
    char id[SWITCH_ID_SIZE];
    switch_port_id(vm, card, id);
    switch_describe_limit(&vm->spec.net_limit, &told);
    return switch_client_limit(fd, id, &told, error);
}

/* A port that is not there has nothing to be limited: the VM does not run. */
static int limit_card(Home *home, const VmRow *vm, size_t card, Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_close_ int fd = -1;
    int r = network_lock(home, vm->spec.cards.items[card].network, &lock, &network, error);
    if (r >= 0 && network_is_bridge(&network))
        return bridge_limit_card(home, vm, card, error);
    if (r < 0 || switch_open_running(home, &network, &fd) < 0)
        return r;
    r = network_limit_port(fd, vm, card, &failure);
    return r < 0 && failure.kind != ERROR_NOT_FOUND ? error_move(error, &failure) : 0;
}

int network_limit_vm(Home *home, const VmRow *vm, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm->spec.cards.count; i++)
        if (network_has_port(vm, i))
            r = limit_card(home, vm, i, error);
    return r;
}
