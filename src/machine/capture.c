/* SPDX-License-Identifier: Apache-2.0 */

#include "machine/capture.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "home/inside.h"
#include "store/networks.h"
#include "store/vms.h"

static size_t first_connected(const VmCards *cards) {
    size_t card = 0;
    while (card < cards->count && str_equal(cards->items[card].network, "none"))
        card++;
    return card < cards->count ? card : 0;
}

static int card_index(const VmRow *vm, const char *card, size_t *index, Error *error) {
    uint64_t number = first_connected(&vm->spec.cards);
    if (card && (strncmp(card, "eth", 3) != 0 || parse_u64(card + 3, UINT8_MAX, &number) < 0))
        return error_set(error, ERROR_USAGE, EINVAL, "\"%.20s\" is no card, such as eth0", card);
    *index = (size_t)number;
    return 0;
}

static int find_vm(Home *home, const char *reference, const char *card, CaptureTarget *target,
                   Error *error) {
    _cleanup_vm_row_ VmRow vm = {0};
    size_t index = 0;
    int r = vms_find(home->store, reference, &vm, error);
    if (r >= 0)
        r = card_index(&vm, card, &index, error);
    if (r >= 0 && !vm_state_is_active(vm.state))
        r = error_set(error, ERROR_CONFLICT, EINVAL, "%s is %s", vm.name, vm_state_name(vm.state));
    return r < 0 ? r : network_capture_find_card(home, &vm, index, target, error);
}

int capture_find(Home *home, const char *name, const char *card, CaptureTarget *target,
                 Error *error) {
    _cleanup_network_row_ NetworkRow network = {0};
    if (networks_get(home->store, name, &network, NULL) >= 0)
        return network_capture_find(home, name, target, error);
    return find_vm(home, name, card, target, error);
}
