/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/bridge_part.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "network/bridge/bridge_inside.h"
#include "network/bridge/bridge_watch.h"
#include "network/bridge/host_forwarding.h"
#include "network/bridge/line.h"
#include "network/bridge/link.h"
#include "network/bridge/rules.h"
#include "network/bridge/tables.h"
#include "store/networks.h"

/* ---- what an earlier daemon left ---- */

typedef struct Found {
    Home *home;
    unsigned *left; /* owned: bridges without a network */
    size_t count;
    NetworkRow *networks;
    size_t n_networks;
    char (*lines)[IFNAMSIZ]; /* owned: what ifb devices are called */
    size_t n_lines;
} Found;

static bool is_network(const Found *found, const char *id) {
    for (size_t i = 0; i < found->n_networks; i++)
        if (str_equal(found->networks[i].id, id) && network_is_bridge(&found->networks[i]))
            return true;
    return false;
}

static const Impairment *network_impairment(const Found *found, const char *id) {
    static const Impairment none;
    for (size_t i = 0; i < found->n_networks; i++)
        if (str_equal(found->networks[i].id, id))
            return &found->networks[i].data.impair;
    return &none;
}

/* Is the card's VM plugged in? Then its rules are known, too. */
static void know_card(const Found *found, Tap *tap) {
    Home *home = found->home;
    _cleanup_vm_row_ VmRow vm = {0};
    char id[VM_ID_SIZE] = "";
    size_t card;
    if (sscanf(tap->use, "%32[0-9a-f]/%zu", id, &card) != 2 ||
        vms_get(home->store, id, &vm, NULL) < 0 || vm.runtime.keeper.pid <= 0 ||
        *vm.runtime.hidden || card >= vm.spec.cards.count)
        return;
    VmAddress address = vm_address(&vm, card);
    bool leads = vm_spec_forward_card(&vm.spec) == &vm.spec.cards.items[card];
    tap_set_card(tap, &address, vm.spec.forwards.items, leads ? vm.spec.forwards.count : 0);
    tap->shape = shape_of(network_impairment(found, tap->network), &vm.runtime.impair);
    tap->limit = vm.spec.net_limit;
    tap->attached = true;
}

static void note_line(Found *found, const char *name) {
    found->lines = reallocarray(found->lines, found->n_lines + 1, sizeof(*found->lines));
    if (!found->lines)
        abort();
    (void)snprintf(found->lines[found->n_lines++], IFNAMSIZ, "%s", name);
}

static void on_link(const Link *link, void *data) {
    Found *found = data;
    Bridges *bridges = found->home->bridges;
    Tap tap = {.index = link->index, .fd = -1};
    if (line_is_of_home(&bridges->names, link)) {
        note_line(found, link->name);
        return;
    }
    if (!bridge_alias_parse(&bridges->names, link->alias, tap.network, tap.use))
        return;
    if (str_equal(tap.use, "bridge")) {
        if (is_network(found, tap.network))
            return;
        found->left = reallocarray(found->left, found->count + 1, sizeof(*found->left));
        if (!found->left)
            abort();
        found->left[found->count++] = link->index;
    } else if (!str_equal(tap.use, "pool")) {
        str_set(tap.name, link->name);
        know_card(found, &tap);
        taps_add(&bridges->taps, &tap);
    }
}

static void remove_left(const Found *found) {
    Bridges *bridges = found->home->bridges;
    _cleanup_(strbuf_free) StrBuf text = {0};
    if (found->count == 0)
        return;
    log_info("%zu bridges were left without a network, and are removed", found->count);
    for (size_t i = 0; i < found->count; i++)
        (void)link_delete(found->left[i]);
    rules_remove_tables(bridges->names.table, &text);
    (void)tables_run(bridges, text.data, NULL);
}

/* Lines of networks and cards that are there are looked at with them. */
static bool is_needed(const Found *found, const char *line) {
    const Bridges *bridges = found->home->bridges;
    char name[IFNAMSIZ];
    for (size_t i = 0; i < found->n_networks; i++) {
        line_network_name(&bridges->names, found->networks[i].id, name);
        if (str_equal(name, line))
            return true;
    }
    for (size_t i = 0; i < bridges->taps.count; i++) {
        line_card_name(&bridges->taps.items[i], name);
        if (str_equal(name, line))
            return true;
    }
    return false;
}

static void remove_lines(const Found *found) {
    for (size_t i = 0; i < found->n_lines; i++)
        if (!is_needed(found, found->lines[i]))
            line_remove(found->lines[i]);
}

static int find_devices(Home *home, size_t *networks, Error *error) {
    Found found = {.home = home};
    int r = networks_list(home->store, &found.networks, &found.n_networks, error);
    if (r < 0)
        return r;
    r = link_each(on_link, &found);
    if (r < 0)
        r = error_set_errno(error, -r, "cannot list the host's network devices");
    else {
        remove_left(&found);
        remove_lines(&found);
    }
    *networks = 0;
    for (size_t i = 0; i < found.n_networks; i++)
        *networks += network_is_bridge(&found.networks[i]);
    network_rows_free(found.networks, found.n_networks);
    free(found.left);
    free(found.lines);
    return r;
}

/* ---- the part ---- */

/* What comes meanwhile has it look once more. */
static void work_changed(Home *home, void *data) {
    Bridges *bridges = home->bridges;
    int seen;
    (void)data;
    do {
        seen = atomic_load(&bridges->news);
        if (!home_is_closing(home))
            bridges->changed(home);
    } while (atomic_fetch_sub(&bridges->news, seen) != seen);
}

static void on_gone(void *data) {
    Home *home = data;
    Bridges *bridges = home->bridges;
    if (home_is_closing(home) || atomic_fetch_add(&bridges->news, 1) > 0)
        return;
    if (home_work(home, work_changed, NULL) < 0)
        atomic_store(&bridges->news, 0);
}

static void stop_part(Home *home) {
    Bridges *bridges = home->bridges;
    bridge_watch_stop(bridges->watch);
    bridges->watch = NULL;
}

static void release_part(Home *home) {
    Bridges *bridges = home->bridges;
    taps_free(&bridges->taps);
    nft_close(bridges->nft);
    (void)pthread_mutex_destroy(&bridges->mutex);
    free(bridges);
    home->bridges = NULL;
}

int bridges_start(Home *home, void (*changed)(Home *home), Error *error) {
    Bridges *bridges = calloc(1, sizeof(*bridges));
    size_t networks = 0;
    if (!bridges)
        abort();
    *bridges = (Bridges){.changed = changed};
    bridge_names_of(home->path, &bridges->names);
    (void)pthread_mutex_init(&bridges->mutex, NULL);
    home->bridges = bridges;
    home_add_part(home, stop_part, release_part);
    if (host_check_bridges(NULL) < 0)
        return 0;
    int r = find_devices(home, &networks, error);
    if (r >= 0)
        r = bridge_watch_start(bridges->names.table, on_gone, home, &bridges->watch, error);
    if (r < 0 || networks == 0)
        return r;
    (void)tables_tell_all(home, NULL); /* looked at again with each network */
    bridges->fresh = true;
    changed(home);
    bridges->fresh = false;
    return 0;
}
