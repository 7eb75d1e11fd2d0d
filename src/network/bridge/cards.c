/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/cards.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "network/bridge/announce.h"
#include "network/bridge/bridge_inside.h"
#include "network/bridge/impair.h"
#include "network/bridge/limit_rules.h"
#include "network/bridge/line.h"
#include "network/bridge/link.h"
#include "network/bridge/rules.h"
#include "network/bridge/tables.h"
#include "network/bridge/tap_pool.h"

/* ---- devices ---- */

static bool take_free(Bridges *bridges, const NetworkRow *network, Tap *tap) {
    (void)pthread_mutex_lock(&bridges->mutex);
    Tap *found = taps_find_free(&bridges->taps, network->id);
    if (found) {
        *tap = *found;
        found->fd = -1;
        taps_remove(&bridges->taps, found);
    }
    (void)pthread_mutex_unlock(&bridges->mutex);
    return found;
}

/* From the pool, as a device of that use. */
static int take(Bridges *bridges, const NetworkRow *network, const char *use, Tap *tap) {
    char alias[BRIDGE_ALIAS_SIZE];
    if (!take_free(bridges, network, tap))
        return -ENOENT;
    bridge_alias(&bridges->names, network->id, use, alias);
    int r = link_change(tap->index, &(LinkChange){.alias = alias});
    str_set(tap->use, use);
    if (r < 0)
        tap->fd = fd_close(tap->fd);
    return r;
}

int bridge_take_tap(Home *home, const NetworkRow *network, const VmRow *vm, size_t card, int *fd,
                    Error *error) {
    Bridges *bridges = home->bridges;
    char use[BRIDGE_USE_SIZE];
    Tap tap;
    bridge_card_use(vm->id, card, use);
    int r = take(bridges, network, use, &tap);
    if (r < 0)
        r = tap_make(bridges, network, use, &tap, error);
    tap_pool_fill_later(home, network);
    if (r < 0)
        return r;
    *fd = TAKE_FD(tap.fd);
    (void)pthread_mutex_lock(&bridges->mutex);
    Tap *earlier = taps_find(&bridges->taps, use); /* of a run whose end nobody told */
    if (earlier)
        taps_remove(&bridges->taps, earlier);
    taps_add(&bridges->taps, &tap);
    (void)pthread_mutex_unlock(&bridges->mutex);
    return 0;
}

/* ---- what passes ---- */

static int not_plugged(const VmRow *vm, Error *error) {
    return error_set(error, ERROR_NOT_FOUND, ENODEV, "%s has no device on its bridge", vm->name);
}

/* What nftables finds there already, and leads elsewhere, is a port of the host. */
static int explain(Error *failure, Error *error) {
    if (failure->errnum != EEXIST)
        return error_move(error, failure);
    error_clear(failure);
    error_set(error, ERROR_CONFLICT, EADDRINUSE,
              "a port of the host leads to another VM on a bridge already");
    error_set_hint(error, "see ramet port ls, and choose another");
    return -EADDRINUSE;
}

static int tell(Home *home, const StrBuf *text, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = tables_tell_locked(home, text->data, &failure);
    return r < 0 ? explain(&failure, error) : 0;
}

/* The mutex is held. What was said of it before goes in the same transaction. */
static int attach(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                  const PortForward *forwards, size_t n, unsigned *index, Error *error) {
    Bridges *bridges = home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    VmAddress address = vm_address(vm, card);
    char use[BRIDGE_USE_SIZE];
    bridge_card_use(vm->id, card, use);
    Tap *tap = taps_find(&bridges->taps, use);
    if (!tap)
        return not_plugged(vm, error);
    if (tap->attached) {
        rules_remove_card(bridges->names.table, tap->name, &tap->address, &text);
        rules_remove_shape(bridges->names.table, tap->name, &tap->shape, &text);
        limit_rules_remove(bridges->names.table, tap->name, &tap->limit, &text);
    }
    tap_set_card(tap, &address, forwards, n);
    tap->shape = shape_of(&network->data.impair, &vm->runtime.impair);
    tap->limit = vm->spec.net_limit;
    tables_add_card(bridges, tap, &text);
    int r = tell(home, &text, error);
    if (r < 0)
        return r;
    tap->attached = true;
    *index = tap->index;
    return bridge_shape_card(bridges, tap, error);
}

/* Who had the address before may have had another MAC address. */
static void announce_card(const NetworkRow *network, const VmRow *vm, size_t card) {
    VmAddress address = vm_address(vm, card);
    char device[IFNAMSIZ];
    bridge_device_name(network->id, device);
    announce(if_nametoindex(device), &address);
}

int bridge_attach(Home *home, const NetworkRow *network, const VmRow *vm, size_t card,
                  const PortForward *forwards, size_t n, Error *error) {
    Bridges *bridges = home->bridges;
    unsigned index = 0;
    (void)pthread_mutex_lock(&bridges->mutex);
    int r = attach(home, network, vm, card, forwards, n, &index, error);
    (void)pthread_mutex_unlock(&bridges->mutex);
    if (r < 0)
        return r;
    r = link_change(index, &(LinkChange){.up = true});
    if (r < 0)
        return error_set_errno(error, -r, "cannot plug %s into network %s", vm->name,
                               network->name);
    announce_card(network, vm, card);
    return 0;
}

/* The mutex is held. */
static void release(Home *home, const VmRow *vm, Tap *tap, bool sleeps, unsigned *index,
                    char line[IFNAMSIZ]) {
    Bridges *bridges = home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    const char *table = bridges->names.table;
    rules_remove_card(table, tap->name, &tap->address, &text);
    rules_remove_shape(table, tap->name, &tap->shape, &text);
    limit_rules_remove(table, tap->name, &tap->limit, &text);
    for (size_t i = 0; i < tap->n_forwards && !sleeps; i++)
        rules_remove_forward(table, &tap->forwards[i], tap->address.ip, &text);
    if (tap->attached && tables_run(bridges, text.data, &error) < 0 && error.errnum != ENOENT)
        log_warning("cannot remove the rules of %s: %s", vm->name, error_message(&error));
    *index = tap->index;
    *line = '\0';
    if (tap->has_lines)
        line_card_name(tap, line);
    taps_remove(&bridges->taps, tap);
}

void bridge_release(Home *home, const VmRow *vm, bool sleeps) {
    Bridges *bridges = home->bridges;
    char use[BRIDGE_USE_SIZE];
    for (size_t card = 0; card < vm->spec.cards.count; card++) {
        unsigned index = 0;
        char line[IFNAMSIZ] = "";
        bridge_card_use(vm->id, card, use);
        (void)pthread_mutex_lock(&bridges->mutex);
        Tap *tap = taps_find(&bridges->taps, use);
        if (tap)
            release(home, vm, tap, sleeps, &index, line);
        (void)pthread_mutex_unlock(&bridges->mutex);
        if (index) /* gone already where QEMU is */
            (void)link_delete(index);
        if (*line)
            line_remove(line);
    }
}

/* ---- limits ---- */

/* The mutex is held. */
static int limit_tap(Home *home, Tap *tap, const NetLimit *limit, Error *error) {
    const char *table = home->bridges->names.table;
    _cleanup_(strbuf_free) StrBuf text = {0};
    limit_rules_remove(table, tap->name, &tap->limit, &text);
    limit_rules_add(table, tap->name, limit, &text);
    int r = text.data ? tables_tell_locked(home, text.data, error) : 0;
    if (r >= 0)
        tap->limit = *limit;
    return r;
}

int bridge_limit_card(Home *home, const VmRow *vm, size_t card, Error *error) {
    Bridges *bridges = home->bridges;
    char use[BRIDGE_USE_SIZE];
    bridge_card_use(vm->id, card, use);
    (void)pthread_mutex_lock(&bridges->mutex);
    Tap *tap = taps_find(&bridges->taps, use);
    int r = tap && tap->attached ? limit_tap(home, tap, &vm->spec.net_limit, error) : 0;
    (void)pthread_mutex_unlock(&bridges->mutex);
    return r;
}

/* ---- forwards ---- */

static int change_forward(Home *home, const VmRow *vm, size_t card, const PortForward *forward,
                          bool add, Error *error) {
    Bridges *bridges = home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    char use[BRIDGE_USE_SIZE];
    bridge_card_use(vm->id, card, use);
    Tap *tap = taps_find(&bridges->taps, use);
    if (!tap ? !vm->runtime.timers.dozing : !tap->attached)
        return not_plugged(vm, error);
    (add ? rules_add_forward : rules_remove_forward)(bridges->names.table, forward,
                                                     vm_address(vm, card).ip, &text);
    int r = tell(home, &text, error);
    if (r >= 0 && tap)
        (add ? tap_add_forward : tap_remove_forward)(tap, forward);
    return r;
}

static int change_forward_locked(Home *home, const VmRow *vm, size_t card,
                                 const PortForward *forward, bool add, Error *error) {
    Bridges *bridges = home->bridges;
    (void)pthread_mutex_lock(&bridges->mutex);
    int r = change_forward(home, vm, card, forward, add, error);
    (void)pthread_mutex_unlock(&bridges->mutex);
    return r;
}

int bridge_add_forward(Home *home, const VmRow *vm, size_t card, const PortForward *forward,
                       Error *error) {
    return change_forward_locked(home, vm, card, forward, true, error);
}

int bridge_remove_forward(Home *home, const VmRow *vm, size_t card, const PortForward *forward,
                          Error *error) {
    return change_forward_locked(home, vm, card, forward, false, error);
}
