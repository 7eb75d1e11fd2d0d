/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/impair.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "network/bridge/line.h"
#include "network/bridge/rules.h"
#include "network/bridge/tables.h"

int bridge_check_impairment(Home *home, const Impairment *impairment, Error *error) {
    const ShapeLine line = shape_line(impairment);
    return shape_line_is_none(&line) ? 0 : line_probe(&home->bridges->names, &line, error);
}

/* ---- lines ---- */

static bool is_plain(const Shape *shape) {
    return shape_line_is_none(&shape->in) && shape_line_is_none(&shape->out) && !shape->shares;
}

int bridge_shape_card(Bridges *bridges, Tap *tap, Error *error) {
    if (is_plain(&tap->shape) && !tap->has_lines)
        return 0;
    int r = line_set_card(&bridges->names, tap);
    if (r < 0)
        return error_set_errno(error, -r, "cannot delay what passes the device %s", tap->name);
    tap->has_lines = !is_plain(&tap->shape);
    return 0;
}

static int set_network_line(Bridges *bridges, const NetworkRow *network, Error *error) {
    const ShapeLine line = shape_line(&network->data.impair);
    int r = line_set_network(&bridges->names, network->id, &line);
    return r < 0 ? error_set_errno(error, -r, "cannot delay what passes network %s", network->name)
                 : 0;
}

void bridge_shape_again(Bridges *bridges, const NetworkRow *network, bool all) {
    _cleanup_error_ Error error = ERROR_INIT;
    const ShapeLine line = shape_line(&network->data.impair);
    const bool has_line = !shape_line_is_none(&line);
    int r = has_line ? set_network_line(bridges, network, &error) : 0;
    for (size_t i = 0; r >= 0 && i < bridges->taps.count; i++) {
        Tap *tap = &bridges->taps.items[i];
        if (!tap->attached || !str_equal(tap->network, network->id))
            continue;
        tap->has_lines = tap->has_lines || all;
        r = bridge_shape_card(bridges, tap, &error);
    }
    if (r >= 0 && !has_line && all)
        r = set_network_line(bridges, network, &error);
    if (r < 0)
        log_warning("network %s is not as bad as it should be: %s", network->name,
                    error_message(&error));
}

/* ---- changes ---- */

static void change_shape(Bridges *bridges, Tap *tap, const NetworkRow *network, const VmRow *vm,
                         StrBuf *text) {
    const char *table = bridges->names.table;
    rules_remove_shape(table, tap->name, &tap->shape, text);
    tap->shape = shape_of(&network->data.impair, &vm->runtime.impair);
    rules_add_shape(table, tap->name, &tap->shape, text);
}

static void change_shapes(Home *home, const NetworkRow *network, StrBuf *text) {
    Bridges *bridges = home->bridges;
    for (size_t i = 0; i < bridges->taps.count; i++) {
        Tap *tap = &bridges->taps.items[i];
        _cleanup_vm_row_ VmRow vm = {0};
        char id[VM_ID_SIZE];
        (void)snprintf(id, sizeof(id), "%.32s", tap->use);
        if (tap->attached && str_equal(tap->network, network->id) &&
            vms_get(home->store, id, &vm, NULL) >= 0)
            change_shape(bridges, tap, network, &vm, text);
    }
}

static int shape_all(Bridges *bridges, const NetworkRow *network, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bridges->taps.count; i++)
        if (bridges->taps.items[i].attached &&
            str_equal(bridges->taps.items[i].network, network->id))
            r = bridge_shape_card(bridges, &bridges->taps.items[i], error);
    return r;
}

/* The network's line is there before cards lead to it, and goes when none does. */
static int impair_network(Home *home, const NetworkRow *network, Error *error) {
    Bridges *bridges = home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    const ShapeLine line = shape_line(&network->data.impair);
    bool goes = shape_line_is_none(&line);
    int r = goes ? 0 : set_network_line(bridges, network, error);
    if (r < 0)
        return r;
    change_shapes(home, network, &text);
    if (text.data)
        r = tables_tell_locked(home, text.data, error);
    if (r >= 0)
        r = shape_all(bridges, network, error);
    return r < 0 || !goes ? r : set_network_line(bridges, network, error);
}

int bridge_impair_network(Home *home, const NetworkRow *network, Error *error) {
    (void)pthread_mutex_lock(&home->bridges->mutex);
    int r = impair_network(home, network, error);
    (void)pthread_mutex_unlock(&home->bridges->mutex);
    return r;
}

static int impair_card(Home *home, const NetworkRow *network, const VmRow *vm, Tap *tap,
                       Error *error) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    change_shape(home->bridges, tap, network, vm, &text);
    int r = text.data ? tables_tell_locked(home, text.data, error) : 0;
    return r < 0 ? r : bridge_shape_card(home->bridges, tap, error);
}

int bridge_impair_card(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                       Error *error) {
    Bridges *bridges = home->bridges;
    char use[BRIDGE_USE_SIZE];
    bridge_card_use(vm->id, card, use);
    (void)pthread_mutex_lock(&bridges->mutex);
    Tap *tap = taps_find(&bridges->taps, use);
    int r = tap && tap->attached ? impair_card(home, network, vm, tap, error) : 0;
    (void)pthread_mutex_unlock(&bridges->mutex);
    return r;
}
