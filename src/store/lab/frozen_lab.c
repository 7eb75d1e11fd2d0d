/* SPDX-License-Identifier: Apache-2.0 */

#include "store/lab/frozen_lab.h"

#include <errno.h>
#include <stdlib.h>

#include "base/str.h"
#include "store/row_fields.h"

void frozen_lab_free(FrozenLab *lab) {
    for (size_t i = 0; i < lab->n_networks; i++)
        network_row_free(&lab->networks[i]);
    free(lab->networks);
    free(lab->vms);
    json_decref(lab->description);
    *lab = (FrozenLab){0};
}

void frozen_lab_make_room(FrozenLab *lab, size_t n_networks, size_t n_vms) {
    lab->networks = calloc(n_networks + 1, sizeof(*lab->networks));
    lab->vms = calloc(n_vms + 1, sizeof(*lab->vms));
    if (!lab->networks || !lab->vms)
        abort();
}

size_t frozen_lab_count_running(const FrozenLab *lab) {
    size_t count = 0;
    for (size_t i = 0; i < lab->n_vms; i++)
        count += !lab->vms[i].stopped;
    return count;
}

/* ---- as JSON ---- */

static const RowField impair_field[] = {ROW_STRUCT_FIELD(FrozenVm, impair, impairment_fields)};

static json_t *write_cards(const VmCards *cards) {
    json_t *list = json_array();
    for (size_t i = 0; i < cards->count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s}", "network", cards->items[i].network, "ip",
                            cards->items[i].ip, "mac", cards->items[i].mac));
    return list;
}

static json_t *write_vm(const FrozenVm *vm) {
    json_t *json = row_fields_write(impair_field, ARRAY_SIZE(impair_field), vm, NULL);
    (void)json_object_update_new(json, json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "name", vm->name,
                                                 "snapshot", vm->snapshot, "hostname", vm->hostname,
                                                 "machine_id", vm->machine_id, "stopped",
                                                 vm->stopped, "cards", write_cards(&vm->cards)));
    return json;
}

static json_t *write_network(const NetworkRow *network) {
    return json_pack("{s:s, s:s, s:o}", "id", network->id, "name", network->name, "data",
                     network_data_to_json(&network->data));
}

json_t *frozen_lab_to_json(const FrozenLab *lab) {
    json_t *networks = json_array(), *vms = json_array();
    for (size_t i = 0; i < lab->n_networks; i++)
        (void)json_array_append_new(networks, write_network(&lab->networks[i]));
    for (size_t i = 0; i < lab->n_vms; i++)
        (void)json_array_append_new(vms, write_vm(&lab->vms[i]));
    return json_pack("{s:O, s:o, s:o, s:I, s:I}", "description", lab->description, "networks",
                     networks, "vms", vms, "spread_us", (json_int_t)lab->spread_us, "held_us",
                     (json_int_t)lab->held_us);
}

static const char *text_of(const json_t *json, const char *key) {
    return str_or_empty(json_string_value(json_object_get(json, key)));
}

static uint64_t number_of(const json_t *json, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(json, key));
}

static void read_network(const json_t *json, NetworkRow *network) {
    str_set(network->id, text_of(json, "id"));
    str_set(network->name, text_of(json, "name"));
    network_data_from_json(json_object_get(json, "data"), &network->data);
}

static void read_card(const json_t *json, VmCard *card) {
    str_set(card->network, text_of(json, "network"));
    str_set(card->ip, text_of(json, "ip"));
    str_set(card->mac, text_of(json, "mac"));
}

static void read_vm(const json_t *json, FrozenVm *vm) {
    const json_t *cards = json_object_get(json, "cards"), *card;
    size_t i;
    json_decref(row_fields_read(impair_field, ARRAY_SIZE(impair_field), vm, json));
    str_set(vm->name, text_of(json, "name"));
    str_set(vm->snapshot, text_of(json, "snapshot"));
    str_set(vm->hostname, text_of(json, "hostname"));
    str_set(vm->machine_id, text_of(json, "machine_id"));
    vm->stopped = json_is_true(json_object_get(json, "stopped"));
    json_array_foreach(cards, i, card) {
        if (vm->cards.count < ARRAY_SIZE(vm->cards.items))
            read_card(card, &vm->cards.items[vm->cards.count++]);
    }
}

int frozen_lab_from_json(const json_t *json, FrozenLab *lab, Error *error) {
    const json_t *networks = json_object_get(json, "networks"), *vms = json_object_get(json, "vms");
    const json_t *item;
    size_t i;
    if (json_array_size(vms) == 0 || json_array_size(vms) > FROZEN_LAB_VMS_MAX)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the lab's snapshot names %zu VMs",
                         json_array_size(vms));
    frozen_lab_make_room(lab, json_array_size(networks), json_array_size(vms));
    lab->description = json_incref(json_object_get(json, "description"));
    json_array_foreach(networks, i, item) {
        read_network(item, &lab->networks[lab->n_networks++]);
    }
    json_array_foreach(vms, i, item) {
        read_vm(item, &lab->vms[lab->n_vms++]);
    }
    lab->spread_us = number_of(json, "spread_us");
    lab->held_us = number_of(json, "held_us");
    return 0;
}
