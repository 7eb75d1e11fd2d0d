/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lab_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/yaml_tree.h"

#define DEFAULT_NETWORK "default"
#define CPUS_MAX 64
#define TIMEOUT_MAX_S 86400

typedef struct LabFile {
    YamlTree tree;
    const YamlNode *networks; /* the mapping; NULL: there is one, of the default name */
    json_t *ports;            /* borrowed: forwards of all VMs */
    Error *error;
} LabFile;

/* A key, and what its value adds to an object of the request. */
typedef struct LabKey {
    const char *name, *member;
    int (*read)(LabFile *file, const YamlNode *node, json_t *object, const char *member);
} LabKey;

/* What a value means, of which `reason` says what is wrong. */
static int refuse(LabFile *file, const YamlNode *node, Error *reason) {
    _cleanup_error_ Error why = ERROR_INIT;
    error_move(&why, reason);
    if (node->key)
        return yaml_tree_error(&file->tree, node, file->error, "%.64s: %s", node->key,
                               error_message(&why));
    return yaml_tree_error(&file->tree, node, file->error, "%s", error_message(&why));
}

static int check_scalar(LabFile *file, const YamlNode *node) {
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_SCALAR, file->error);
    if (r < 0 || node->text[0] || node->quoted)
        return r;
    return yaml_tree_error(&file->tree, node, file->error, "%.64s has no value",
                           node->key ? node->key : "this item");
}

static int read_text(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    int r = check_scalar(file, node);
    if (r >= 0)
        json_object_set_new(object, member, json_string(node->text));
    return r;
}

static int read_image(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    _cleanup_error_ Error reason = ERROR_INIT;
    int r = check_scalar(file, node);
    if (r >= 0 && name_check("image", node->text, &reason) < 0)
        r = refuse(file, node, &reason);
    return r < 0 ? r : read_text(file, node, object, member);
}

static int read_size(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    uint64_t bytes;
    int r = check_scalar(file, node);
    if (r < 0)
        return r;
    if (parse_size(node->text, &bytes) < 0)
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s: \"%.40s\" is no size, such as 512M or 4G", node->key,
                               node->text);
    json_object_set_new(object, member, json_integer((json_int_t)bytes));
    return 0;
}

static int read_number(LabFile *file, const YamlNode *node, json_t *object, const char *member,
                       uint64_t max) {
    uint64_t number;
    int r = check_scalar(file, node);
    if (r < 0)
        return r;
    if (parse_u64(node->text, max, &number) < 0 || number < 1)
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s: \"%.40s\" is no number from 1 to %llu", node->key, node->text,
                               (unsigned long long)max);
    json_object_set_new(object, member, json_integer((json_int_t)number));
    return 0;
}

static int read_cpus(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    return read_number(file, node, object, member, CPUS_MAX);
}

static int read_seconds(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    return read_number(file, node, object, member, TIMEOUT_MAX_S);
}

static int read_bool(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    bool yes;
    int r = check_scalar(file, node);
    if (r < 0)
        return r;
    yes = str_equal(node->text, "true") || str_equal(node->text, "yes");
    if (node->quoted || (!yes && !str_equal(node->text, "false") && !str_equal(node->text, "no")))
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s: \"%.40s\" is neither true nor false", node->key, node->text);
    json_object_set_new(object, member, json_boolean(yes));
    return 0;
}

/* ADDRESS/BITS; whether the network can be had is the daemon's to say. */
static bool is_subnet(const char *text) {
    const char *slash = strchr(text, '/');
    _cleanup_free_ char *address = slash ? str_format("%.*s", (int)(slash - text), text) : NULL;
    struct in_addr ip;
    uint64_t bits;
    return slash && inet_pton(AF_INET, address, &ip) == 1 && parse_u64(slash + 1, 30, &bits) == 0 &&
           bits >= 8 && (ntohl(ip.s_addr) & (UINT32_MAX >> bits)) == 0;
}

static int read_subnet(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    int r = check_scalar(file, node);
    if (r >= 0 && !is_subnet(node->text))
        r = yaml_tree_error(&file->tree, node, file->error,
                            "%s: \"%.40s\" is no IPv4 network, such as 10.1.0.0/24", node->key,
                            node->text);
    return r < 0 ? r : read_text(file, node, object, member);
}

/* One item of a list or member of a mapping, appended to an array. */
typedef int (*ReadItem)(LabFile *file, const YamlNode *node, json_t *array);

static int read_items(LabFile *file, const YamlNode *node, YamlKind kind, json_t *object,
                      const char *member, ReadItem read) {
    json_t *array;
    int r = yaml_tree_check_kind(&file->tree, node, kind, file->error);
    if (r < 0)
        return r;
    array = json_array();
    json_object_set_new(object, member, array);
    for (const YamlNode *item = node->first; item && r >= 0; item = item->next)
        r = read(file, item, array);
    return r;
}

static bool same(const json_t *one, const json_t *other, const char *member) {
    return json_equal((json_t *)json_object_get(one, member),
                      (json_t *)json_object_get(other, member));
}

/* A port of the host leads to one VM only; 0 is any that is free. */
static int note_port(LabFile *file, const YamlNode *node, json_t *forward) {
    const json_t *other;
    size_t i;
    json_array_foreach(file->ports, i, other) {
        if (same(forward, other, "host_port") && same(forward, other, "protocol") &&
            same(forward, other, "host_ip"))
            return yaml_tree_error(&file->tree, node, file->error,
                                   "\"%.40s\": that port of the host leads elsewhere already",
                                   node->text);
    }
    if (json_integer_value(json_object_get(forward, "host_port")) > 0)
        json_array_append(file->ports, forward);
    return 0;
}

static int read_port(LabFile *file, const YamlNode *node, json_t *array) {
    _cleanup_error_ Error reason = ERROR_INIT;
    json_t *forward;
    int r = check_scalar(file, node);
    if (r < 0)
        return r;
    if (forward_parse(node->text, &forward, &reason) < 0)
        return refuse(file, node, &reason);
    json_array_append_new(array, forward);
    return note_port(file, node, forward);
}

static int read_ports(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    return read_items(file, node, YAML_TREE_LIST, object, member, read_port);
}

static int read_variable(LabFile *file, const YamlNode *node, json_t *array) {
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_SCALAR, file->error);
    if (r < 0)
        return r;
    if (node->key[0] == '\0' || strchr(node->key, '='))
        return yaml_tree_error(&file->tree, node, file->error, "\"%.64s\" is no name of a variable",
                               node->key);
    _cleanup_free_ char *text = str_format("%s=%s", node->key, node->text);
    json_array_append_new(array, json_string(text));
    return 0;
}

static int read_env(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    return read_items(file, node, YAML_TREE_MAPPING, object, member, read_variable);
}

static int read_labels(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    json_t *labels;
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    if (r < 0)
        return r;
    labels = json_object();
    json_object_set_new(object, member, labels);
    for (const YamlNode *label = node->first; label && r >= 0; label = label->next)
        r = read_text(file, label, labels, label->key);
    return r;
}

static bool has_network(const LabFile *file, const char *name) {
    if (str_equal(name, "user") || str_equal(name, "none"))
        return true;
    return file->networks ? yaml_tree_member(file->networks, name) != NULL
                          : str_equal(name, DEFAULT_NETWORK);
}

/* NAME[,ip=ADDRESS][,mac=MAC], as --network has it. */
static int read_card(LabFile *file, const YamlNode *node, json_t *array) {
    int r = check_scalar(file, node);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = str_format("%.*s", (int)strcspn(node->text, ","), node->text);
    if (!has_network(file, name))
        return yaml_tree_error(&file->tree, node, file->error,
                               "there is no network %.64s in this file", name);
    json_array_append_new(array, json_string(node->text));
    return 0;
}

static int read_cards(LabFile *file, const YamlNode *node, json_t *object, const char *member) {
    return read_items(file, node, YAML_TREE_LIST, object, member, read_card);
}

static const LabKey network_keys[] = {
    {"subnet", "subnet", read_subnet},
    {"isolated", "isolated", read_bool},
    {"uplink", "uplink", read_bool},
    {0},
};

static const LabKey vm_keys[] = {
    {"image", "image", read_image},
    {"memory", "memory_bytes", read_size},
    {"cpus", "cpus", read_cpus},
    {"disk", "disk_bytes", read_size},
    {"hostname", "hostname", read_text},
    {"networks", "networks", read_cards},
    {"router", "router", read_bool},
    {"ports", "forwards", read_ports},
    {"env", "env", read_env},
    {"labels", "labels", read_labels},
    {"run", "run", read_text},
    {"ready", "wait_for", read_text},
    {"ready_timeout", "wait_timeout_s", read_seconds},
    {0},
};

static int check_keys(LabFile *file, const YamlNode *node, const LabKey *keys) {
    const char *names[ARRAY_SIZE(vm_keys)] = {0}; /* the longest of the tables */
    for (size_t i = 0; keys[i].name; i++)
        names[i] = keys[i].name;
    return yaml_tree_check_keys(&file->tree, node, names, file->error);
}

static int read_members(LabFile *file, const YamlNode *node, const LabKey *keys, json_t *object) {
    int r = check_keys(file, node, keys);
    for (size_t i = 0; keys[i].name && r >= 0; i++) {
        const YamlNode *member = yaml_tree_member(node, keys[i].name);
        if (member)
            r = keys[i].read(file, member, object, keys[i].member);
    }
    return r;
}

static int read_name(LabFile *file, const YamlNode *node, const char *what, json_t *object) {
    _cleanup_error_ Error reason = ERROR_INIT;
    if (name_check(what, node->key, &reason) < 0)
        return refuse(file, node, &reason);
    json_object_set_new(object, "name", json_string(node->key));
    return 0;
}

static json_t *append_object(json_t *array) {
    json_t *object = json_object();
    json_array_append_new(array, object);
    return object;
}

static int read_network(LabFile *file, const YamlNode *node, json_t *array) {
    json_t *network = append_object(array);
    int r = read_name(file, node, "network", network);
    if (r < 0)
        return r;
    if (str_equal(node->key, "user") || str_equal(node->key, "none"))
        return yaml_tree_error(&file->tree, node, file->error,
                               "a network cannot be called %s: that name has a meaning", node->key);
    if (node->kind == YAML_TREE_SCALAR && !node->quoted && node->text[0] == '\0')
        return 0; /* "NAME:" alone: all as it is by default */
    r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    return r < 0 ? r : read_members(file, node, network_keys, network);
}

static int join_only_network(LabFile *file, const YamlNode *node, json_t *vm) {
    const YamlNode *first = file->networks ? file->networks->first : NULL;
    if (first && first->next)
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s does not say in which networks it is", node->key);
    json_object_set_new(vm, "networks", json_pack("[s]", first ? first->key : DEFAULT_NETWORK));
    return 0;
}

static int read_vm(LabFile *file, const YamlNode *node, json_t *array) {
    json_t *vm = append_object(array);
    int r = read_name(file, node, "VM", vm);
    if (r >= 0)
        r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    if (r >= 0)
        r = read_members(file, node, vm_keys, vm);
    if (r < 0)
        return r;
    if (!json_object_get(vm, "image"))
        return yaml_tree_error(&file->tree, node, file->error, "%s has no image", node->key);
    return json_object_get(vm, "networks") ? 0 : join_only_network(file, node, vm);
}

static int read_lab(LabFile *file, json_t *request) {
    static const char *const known[] = {"networks", "vms", NULL};
    const YamlNode *root = file->tree.root, *vms;
    int r;
    if (!root)
        return error_set(file->error, ERROR_USAGE, EINVAL, "%s: it is empty", file->tree.name);
    r = yaml_tree_check_kind(&file->tree, root, YAML_TREE_MAPPING, file->error);
    if (r >= 0)
        r = yaml_tree_check_keys(&file->tree, root, known, file->error);
    if (r < 0)
        return r;
    file->networks = yaml_tree_member(root, "networks");
    if (file->networks && !file->networks->first)
        return yaml_tree_error(&file->tree, file->networks, file->error, "there are no networks");
    vms = yaml_tree_member(root, "vms");
    if (!vms || !vms->first)
        return yaml_tree_error(&file->tree, vms ? vms : root, file->error, "there are no vms");
    if (file->networks)
        r = read_items(file, file->networks, YAML_TREE_MAPPING, request, "networks", read_network);
    else
        json_object_set_new(request, "networks", json_pack("[{s:s}]", "name", DEFAULT_NETWORK));
    return r < 0 ? r : read_items(file, vms, YAML_TREE_MAPPING, request, "vms", read_vm);
}

int lab_file_parse(const char *name, const char *text, size_t size, json_t **request,
                   Error *error) {
    _cleanup_json_ json_t *ports = json_array();
    LabFile file = {.ports = ports, .error = error};
    json_t *made;
    int r = yaml_tree_parse(name, text, size, &file.tree, error);
    if (r < 0)
        return r;
    made = json_object();
    r = read_lab(&file, made);
    yaml_tree_free(&file.tree);
    if (r < 0)
        json_decref(made);
    else
        *request = made;
    return r;
}
