/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/tables.h"

#include <errno.h>

#include "network/bridge/bridge_names.h"
#include "network/bridge/limit_rules.h"
#include "network/bridge/rules.h"
#include "store/networks.h"

void tables_add_card(const Bridges *bridges, const Tap *tap, StrBuf *text) {
    const char *table = bridges->names.table;
    rules_add_card(table, tap->name, &tap->address, text);
    rules_add_shape(table, tap->name, &tap->shape, text);
    limit_rules_add(table, tap->name, &tap->limit, text);
    for (size_t i = 0; i < tap->n_forwards; i++)
        rules_add_forward(table, &tap->forwards[i], tap->address.ip, text);
}

static int add_networks(Home *home, StrBuf *text, Error *error) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    char device[IFNAMSIZ];
    int r = networks_list(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        bridge_device_name(rows[i].id, device);
        if (network_is_bridge(&rows[i]))
            rules_add_network(home->bridges->names.table, &rows[i], device, text);
    }
    network_rows_free(rows, count);
    return r;
}

static void add_forwards(Home *home, const VmRow *vm, StrBuf *text) {
    const VmCard *card = vm_spec_forward_card(&vm->spec);
    _cleanup_network_row_ NetworkRow network = {0};
    if (!card || networks_get(home->store, card->network, &network, NULL) < 0 ||
        !network_is_bridge(&network))
        return;
    VmAddress address = vm_address(vm, (size_t)(card - vm->spec.cards.items));
    for (size_t i = 0; i < vm->spec.forwards.count; i++)
        rules_add_forward(home->bridges->names.table, &vm->spec.forwards.items[i], address.ip,
                          text);
}

/* Of VMs that sleep; who connects wakes them. */
static int add_sleepers(Home *home, StrBuf *text, Error *error) {
    VmRow *rows = NULL;
    size_t count = 0;
    int r = vms_list_tended(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (rows[i].state == STATE_STANDBY && rows[i].runtime.timers.dozing)
            add_forwards(home, &rows[i], text);
    vm_rows_free(rows, count);
    return r;
}

int tables_run(Bridges *bridges, const char *commands, Error *error) {
    int r = bridges->nft ? 0 : nft_open(&bridges->nft, error);
    return r < 0 ? r : nft_run(bridges->nft, commands, error);
}

int tables_tell_all(Home *home, Error *error) {
    Bridges *bridges = home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    rules_add_tables(bridges->names.table, bridges->names.tap_prefix, &text);
    int r = add_networks(home, &text, error);
    if (r >= 0)
        r = add_sleepers(home, &text, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < bridges->taps.count; i++)
        if (bridges->taps.items[i].attached)
            tables_add_card(bridges, &bridges->taps.items[i], &text);
    return tables_run(bridges, text.data, error);
}

int tables_tell_locked(Home *home, const char *commands, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = tables_run(home->bridges, commands, &failure);
    if (r >= 0 || failure.errnum != ENOENT)
        return r < 0 ? error_move(error, &failure) : 0;
    r = tables_tell_all(home, error);
    return r < 0 ? r : tables_run(home->bridges, commands, error);
}

int tables_tell(Home *home, const char *commands, Error *error) {
    (void)pthread_mutex_lock(&home->bridges->mutex);
    int r = tables_tell_locked(home, commands, error);
    (void)pthread_mutex_unlock(&home->bridges->mutex);
    return r;
}
