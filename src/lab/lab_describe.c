/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_describe.h"

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"
#include "lab/lab.h"
#include "machine/look/describe.h"
#include "network/network.h"
#include "store/networks.h"
#include "store/vms.h"

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* Puts the lab's own name for a thing in the place of everybody's. */
static void use_own_name(json_t *object) {
    _cleanup_free_ char *name = str_copy(str_or_empty(text_of(object, "name")));
    (void)json_object_set_new(object, "name", json_string(name_within_lab(name)));
}

/* ---- networks ---- */

static int describe_network(Home *home, const NetworkRow *row, json_t **network, Error *error) {
    int r = network_inspect(home, row->name, network, error);
    if (r < 0)
        return r;
    (void)json_object_del(*network, "vms"); /* they are in the lab's own list */
    (void)json_object_set_new(*network, "network", json_string(row->name));
    use_own_name(*network);
    return 0;
}

/* ---- VMs ---- */

static bool is_ready(const json_t *vm) {
    return str_equal(text_of(vm, "state"), "running") &&
           json_is_true(json_object_get(vm, "responsive"));
}

static json_t *describe_cards(const json_t *vm) {
    json_t *cards = json_deep_copy(json_object_get(vm, "networks")), *card;
    size_t i;
    json_array_foreach(cards, i, card) {
        use_own_name(card);
    }
    return cards;
}

static int describe_vm(Home *home, const VmRow *row, json_t **vm, Error *error) {
    static const char *const same[] = {"id",       "state",    "image", "ip",
                                       "hostname", "forwards", "error", "created_at"};
    _cleanup_json_ json_t *whole = NULL;
    int r = vm_describe(home, row, &whole, error);
    if (r < 0)
        return r;
    *vm = json_pack("{s:s, s:s, s:b, s:o}", "name", name_within_lab(row->name), "vm", row->name,
                    "ready", is_ready(whole), "networks", describe_cards(whole));
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        (void)json_object_set(*vm, same[i], json_object_get(whole, same[i]));
    return 0;
}

/* ---- all of it ---- */

/* Where the description has what is called so; the end of it for what is not there. */
static size_t place_of(const LabRow *lab, const char *kind, const char *name) {
    const json_t *list = json_object_get(lab->description, kind);
    size_t i = 0;
    while (i < json_array_size(list) &&
           !str_equal(text_of(json_array_get(list, i), "name"), name_within_lab(name)))
        i++;
    return i;
}

/* Into its place among those that are there. */
static void insert(const LabRow *lab, const char *kind, json_t *list, json_t *item) {
    size_t place = place_of(lab, kind, text_of(item, "name")), i = 0;
    while (i < json_array_size(list) &&
           place_of(lab, kind, text_of(json_array_get(list, i), "name")) <= place)
        i++;
    (void)json_array_insert_new(list, i, item);
}

static int add_networks(Home *home, const LabRow *lab, json_t *list, Error *error) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    int r = networks_list_of_lab(home->store, lab->id, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *network;
        r = describe_network(home, &rows[i], &network, error);
        if (r >= 0)
            insert(lab, "networks", list, network);
    }
    network_rows_free(rows, count);
    return r;
}

static int add_vms(Home *home, const LabRow *lab, json_t *list, Error *error) {
    VmRow *rows = NULL;
    size_t count = 0;
    int r = vms_list_of_lab(home->store, lab->id, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *vm;
        r = describe_vm(home, &rows[i], &vm, error);
        if (r >= 0)
            insert(lab, "vms", list, vm);
    }
    vm_rows_free(rows, count);
    return r;
}

int lab_describe(Home *home, const LabRow *row, json_t **lab, Error *error) {
    _cleanup_json_ json_t *networks = json_array(), *vms = json_array();
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    int r = add_networks(home, row, networks, error);
    if (r >= 0)
        r = add_vms(home, row, vms, error);
    if (r < 0)
        return error_add_context(error, "lab %s", row->name);
    *lab = json_pack("{s:s, s:s, s:s, s:o, s:s, s:O, s:O}", "id", row->id, "name", row->name,
                     "state", lab_state_name(row->state), "from",
                     *row->snapshot ? json_string(row->snapshot) : json_null(), "created_at",
                     created, "networks", networks, "vms", vms);
    return 0;
}

int lab_inspect(Home *home, const char *reference, json_t **lab, Error *error) {
    _cleanup_lab_row_ LabRow row = {0};
    int r = labs_find(home->store, reference, &row, error);
    return r < 0 ? r : lab_describe(home, &row, lab, error);
}

int lab_list(Home *home, json_t **list, Error *error) {
    _cleanup_json_ json_t *labs = json_array();
    LabRow *rows = NULL;
    size_t count = 0;
    int r = labs_list(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *lab;
        if (!lab_state_is_seen(rows[i].state))
            continue;
        r = lab_describe(home, &rows[i], &lab, error);
        if (r >= 0)
            (void)json_array_append_new(labs, lab);
    }
    lab_rows_free(rows, count);
    if (r >= 0)
        *list = TAKE_PTR(labs);
    return r;
}
