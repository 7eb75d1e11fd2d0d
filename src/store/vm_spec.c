/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vm_spec.h"

#include "store/row_fields.h"

#define FIELD(kind, name) ROW_FIELD(kind, VmSpec, name)
#define TEXT(name) ROW_TEXT_FIELD(VmSpec, name)

/* ---- limits ---- */

static json_t *write_net_limit(const void *at) {
    _cleanup_free_ char *text = net_limit_format(at);
    return json_string(text);
}

static void read_net_limit(const json_t *json, void *at) {
    const char *text = json_string_value(json);
    if (text)
        (void)net_limit_parse(text, at, NULL);
}

static const RowType net_limit_type = {write_net_limit, read_net_limit, NULL};

/* ---- environment, keys ---- */

static json_t *write_env(const void *at) {
    return words_to_json(at);
}

static void read_env(const json_t *json, void *at) {
    words_from_json(json, at);
}

static void free_env(void *at) {
    strlist_free(at);
}

static const RowType env_type = {write_env, read_env, free_env};

/* ---- how its image is run ---- */

static json_t *write_config(const void *at) {
    json_t *json = image_config_to_json(at);
    if (json_object_size(json) > 0)
        return json;
    json_decref(json);
    return NULL;
}

static void read_config(const json_t *json, void *at) {
    image_config_from_json(json, at);
}

static void free_config(void *at) {
    image_config_free(at);
}

static const RowType config_type = {write_config, read_config, free_config};

/* ---- forwards ---- */

static json_t *write_forwards(const void *at) {
    const PortForwards *forwards = at;
    json_t *list = json_array();
    for (size_t i = 0; i < forwards->count; i++) {
        const PortForward *forward = &forwards->items[i];
        (void)json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:s}", "host_ip", forward->host_ip, "host_port",
                            forward->host_port, "guest_port", forward->guest_port, "protocol",
                            forward->udp ? "udp" : "tcp"));
    }
    return list;
}

static void read_forwards(const json_t *json, void *at) {
    PortForwards *forwards = at;
    const json_t *item;
    size_t i;
    json_array_foreach(json, i, item) {
        const char *ip = json_string_value(json_object_get(item, "host_ip"));
        const char *protocol = json_string_value(json_object_get(item, "protocol"));
        if (!ip || forwards->count == ARRAY_SIZE(forwards->items))
            continue;
        PortForward *forward = &forwards->items[forwards->count++];
        str_set(forward->host_ip, ip);
        forward->host_port = (uint16_t)json_integer_value(json_object_get(item, "host_port"));
        forward->guest_port = (uint16_t)json_integer_value(json_object_get(item, "guest_port"));
        forward->udp = str_equal(protocol, "udp");
    }
}

static const RowType forwards_type = {write_forwards, read_forwards, NULL};

/* ---- cards ---- */

static bool is_plain(const VmCards *cards) {
    const VmCard *first = &cards->items[0];
    return cards->count == 1 && !*first->ip && !*first->mac && !first->allow_host;
}

/* A single card is the name of its network, as before there were several. */
static json_t *write_cards(const void *at) {
    const VmCards *cards = at;
    json_t *list;
    if (is_plain(cards))
        return json_string(cards->items[0].network);
    list = json_array();
    for (size_t i = 0; i < cards->count; i++)
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "name",
                                                    cards->items[i].network, "ip",
                                                    cards->items[i].ip, "mac", cards->items[i].mac,
                                                    "allow_host", cards->items[i].allow_host));
    return list;
}

static void read_cards(const json_t *json, void *at) {
    VmCards *cards = at;
    const json_t *item;
    size_t i;
    if (json_is_string(json))
        vm_cards_set(cards, json_string_value(json));
    json_array_foreach(json, i, item) {
        if (i == ARRAY_SIZE(cards->items))
            return;
        VmCard *card = &cards->items[cards->count++];
        str_set(card->network, str_or_empty(json_string_value(json_object_get(item, "name"))));
        str_set(card->ip, str_or_empty(json_string_value(json_object_get(item, "ip"))));
        str_set(card->mac, str_or_empty(json_string_value(json_object_get(item, "mac"))));
        card->allow_host = json_is_true(json_object_get(item, "allow_host"));
    }
}

static const RowType cards_type = {write_cards, read_cards, NULL};

void vm_cards_set(VmCards *cards, const char *network) {
    *cards = (VmCards){.count = 1};
    str_set(cards->items[0].network, network);
}

bool vm_network_is_named(const char *network) {
    return *network && !str_equal(network, "user") && !str_equal(network, "none");
}

/* ---- the specification ---- */

const RowField vm_spec_fields[] = {
    TEXT(name),
    TEXT(image),
    FIELD(ROW_U64, memory_bytes),
    FIELD(ROW_INT, cpus),
    FIELD(ROW_U64, disk_bytes),
    ROW_TYPE_FIELD(VmSpec, mounts, vm_mounts_type),
    {"network", ROW_TYPE, offsetof(VmSpec, cards), 0, NULL, &cards_type},
    ROW_TYPE_FIELD(VmSpec, net_limit, net_limit_type),
    ROW_TYPE_FIELD(VmSpec, forwards, forwards_type),
    ROW_TYPE_FIELD(VmSpec, env, env_type),
    ROW_TYPE_FIELD(VmSpec, ssh_keys, env_type),
    TEXT(hostname),
    FIELD(ROW_JSON, labels),
    TEXT(wait_for),
    FIELD(ROW_U64, wait_timeout_s),
    ROW_STRUCT_FIELD(VmSpec, policy, vm_policy_fields),
    ROW_STRUCT_FIELD(VmSpec, limits, vm_limits_fields),
    FIELD(ROW_BOOL, router),
    FIELD(ROW_BOOL, remove),
    FIELD(ROW_BOOL, cold),
    ROW_TYPE_FIELD(VmSpec, config, config_type),
    FIELD(ROW_BOOL, has_program),
    FIELD(ROW_BOOL, warm),
    FIELD(ROW_BOOL, agent_is_init),
    ROW_UNKNOWN_FIELD(VmSpec, unknown),
};

void vm_spec_init(VmSpec *spec) {
    *spec = (VmSpec){0};
    vm_cards_set(&spec->cards, "user");
}

void vm_spec_free(VmSpec *spec) {
    row_fields_free(vm_spec_fields, ARRAY_SIZE(vm_spec_fields), spec);
    free(spec->config_disk);
    spec->config_disk = NULL;
}

json_t *vm_spec_to_json(const VmSpec *spec) {
    return row_fields_write(vm_spec_fields, ARRAY_SIZE(vm_spec_fields), spec, NULL);
}

void vm_spec_from_json(const json_t *json, VmSpec *spec) {
    (void)row_fields_read(vm_spec_fields, ARRAY_SIZE(vm_spec_fields), spec, json);
}

void vm_spec_copy(const VmSpec *spec, VmSpec *copy) {
    *copy = *spec;
    copy->labels = json_deep_copy(spec->labels);
    copy->unknown = json_deep_copy(spec->unknown);
    words_copy(&spec->env, &copy->env);
    words_copy(&spec->ssh_keys, &copy->ssh_keys);
    image_config_copy(&spec->config, &copy->config);
    copy->config_disk = spec->config_disk ? str_copy(spec->config_disk) : NULL;
}

json_t *vm_spec_env_to_json(const VmSpec *spec) {
    _cleanup_json_ json_t *own = words_to_json(&spec->env);
    json_t *all = words_to_json(&spec->config.env);
    (void)json_array_extend(all, own);
    return env_merge(all);
}

json_t *vm_spec_forwards_to_json(const VmSpec *spec) {
    return write_forwards(&spec->forwards);
}

const char *vm_spec_network(const VmSpec *spec) {
    return spec->cards.items[0].network;
}

const VmCard *vm_spec_forward_card(const VmSpec *spec) {
    for (size_t i = 0; i < spec->cards.count; i++)
        if (!str_equal(spec->cards.items[i].network, "none"))
            return &spec->cards.items[i];
    return NULL;
}
