/* SPDX-License-Identifier: Apache-2.0 */
#include "network/vm_ports.h"

#include <errno.h>

#include "base/str.h"
#include "store/networks.h"

/* In the network user nobody meets anybody, so who is hidden may be in it. */
bool network_has_port(const VmRow *vm, size_t card) {
    const char *network = vm->spec.cards.items[card].network;
    if (str_equal(network, NETWORK_USER_ID))
        return vm->runtime.user_switched || vm->runtime.keeper.pid <= 0;
    return vm_network_is_named(network) && !*vm->runtime.hidden;
}

bool network_has_ports(const VmRow *vm) {
    bool found = false;
    for (size_t i = 0; i < vm->spec.cards.count; i++)
        found |= network_has_port(vm, i);
    return found;
}

static bool is_of_qemu(const VmRow *vm, size_t card) {
    return str_equal(vm->spec.cards.items[card].network, NETWORK_USER_ID) &&
           !network_has_port(vm, card);
}

int network_require_port(const VmRow *vm, size_t card, Error *error) {
    if (card < vm->spec.cards.count && network_has_port(vm, card))
        return 0;
    error_set(error, ERROR_CONFLICT, ENOENT, "eth%zu of %s is in no network", card, vm->name);
    if (card < vm->spec.cards.count && is_of_qemu(vm, card))
        error_set_hint(error, "an earlier version started it: stop and start it, and it is");
    return -ENOENT;
}

int network_require_ports(const VmRow *vm, Error *error) {
    bool of_qemu = false;
    if (network_has_ports(vm))
        return 0;
    for (size_t i = 0; i < vm->spec.cards.count; i++)
        of_qemu |= is_of_qemu(vm, i);
    error_set(error, ERROR_CONFLICT, EINVAL, "%s is in no network", vm->name);
    if (of_qemu)
        error_set_hint(error, "an earlier version started it: stop and start it, and it is");
    return -EINVAL;
}
