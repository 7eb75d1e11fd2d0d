/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lab_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/beside_file.h"
#include "cli/image_args.h"
#include "cli/yaml_read.h"

#define DEFAULT_NETWORK "default"

typedef struct LabFile {
    const YamlNode *networks; /* the mapping; NULL: there is one, of the default name */
    json_t *ports;            /* borrowed: forwards of all VMs */
} LabFile;

static LabFile *lab_of(YamlReading *file) {
    return file->data;
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

static int read_subnet(YamlReading *file, const YamlNode *node, json_t *object,
                       const char *member) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0 && !is_subnet(node->text))
        r = yaml_tree_error(&file->tree, node, file->error,
                            "%s: \"%.40s\" is no IPv4 network, such as 10.1.0.0/24", node->key,
                            node->text);
    return r < 0 ? r : yaml_read_text(file, node, object, member);
}

static bool same(const json_t *one, const json_t *other, const char *member) {
    return json_equal((json_t *)json_object_get(one, member),
                      (json_t *)json_object_get(other, member));
}

/* A port of the host leads to one VM only; 0 is any that is free. */
static int note_port(YamlReading *file, const YamlNode *node, json_t *forward) {
    const json_t *other;
    size_t i;
    json_array_foreach(lab_of(file)->ports, i, other) {
        if (same(forward, other, "host_port") && same(forward, other, "protocol") &&
            same(forward, other, "host_ip"))
            return yaml_tree_error(&file->tree, node, file->error,
                                   "\"%.40s\": that port of the host leads elsewhere already",
                                   node->text);
    }
    if (json_integer_value(json_object_get(forward, "host_port")) > 0)
        json_array_append(lab_of(file)->ports, forward);
    return 0;
}

static int read_port(YamlReading *file, const YamlNode *node, json_t *array) {
    _cleanup_error_ Error reason = ERROR_INIT;
    json_t *forward;
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    if (forward_parse(node->text, &forward, &reason) < 0)
        return yaml_refuse(file, node, &reason);
    json_array_append_new(array, forward);
    return note_port(file, node, forward);
}

static int read_ports(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_port);
}

static int read_labels(YamlReading *file, const YamlNode *node, json_t *object,
                       const char *member) {
    json_t *labels;
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    if (r < 0)
        return r;
    labels = json_object();
    json_object_set_new(object, member, labels);
    for (const YamlNode *label = node->first; label && r >= 0; label = label->next)
        r = yaml_read_text(file, label, labels, label->key);
    return r;
}

static bool has_network(YamlReading *file, const char *name) {
    if (str_equal(name, "user") || str_equal(name, "none"))
        return true;
    return lab_of(file)->networks ? yaml_tree_member(lab_of(file)->networks, name) != NULL
                                  : str_equal(name, DEFAULT_NETWORK);
}

/* NAME[,ip=ADDRESS][,mac=MAC], as --network has it. */
static int read_card(YamlReading *file, const YamlNode *node, json_t *array) {
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = str_format("%.*s", (int)strcspn(node->text, ","), node->text);
    if (!has_network(file, name))
        return yaml_tree_error(&file->tree, node, file->error,
                               "there is no network %.64s in this file", name);
    json_array_append_new(array, json_string(node->text));
    return 0;
}

static int read_cards(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_card);
}

static int read_one_text(YamlReading *file, const YamlNode *node, json_t *array) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0)
        json_array_append_new(array, json_string(node->text));
    return r;
}

/* NAME:PATH[:SIZE], as --seed has it, or NAME:PATH[:ro], as --volume has it. */
static int read_texts(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_one_text);
}

/* As --config-disk has it, below the folder of the file. */
static int read_config_disk(YamlReading *file, const YamlNode *node, json_t *object,
                            const char *member) {
    _cleanup_error_ Error reason = ERROR_INIT;
    _cleanup_free_ char *path = NULL, *absolute = NULL;
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    if (beside_file("lab", file->tree.name, node->text, &path, &reason) < 0 ||
        image_args_path(path, &absolute, &reason) < 0)
        return yaml_refuse(file, node, &reason);
    json_object_set_new(object, member, json_string(absolute));
    return 0;
}

static const YamlKey network_keys[] = {
    {"subnet", "subnet", read_subnet},
    {"isolated", "isolated", yaml_read_bool},
    {"uplink", "uplink", yaml_read_bool},
    {0},
};

static const YamlKey vm_keys[] = {
    {"image", "image", yaml_read_image},
    {"memory", "memory_bytes", yaml_read_memory},
    {"cpus", "cpus", yaml_read_cpus},
    {"disk", "disk_bytes", yaml_read_disk},
    {"hostname", "hostname", yaml_read_text},
    {"networks", "networks", read_cards},
    {"router", "router", yaml_read_bool},
    {"seeds", "seeds", read_texts},
    {"volumes", "volumes", read_texts},
    {"config_disk", "config_disk", read_config_disk},
    {"ports", "forwards", read_ports},
    {"env", "env", yaml_read_env},
    {"labels", "labels", read_labels},
    {"run", "run", yaml_read_text},
    {"ready", "wait_for", yaml_read_text},
    {"ready_timeout", "wait_timeout_s", yaml_read_seconds},
    {0},
};

static int read_name(YamlReading *file, const YamlNode *node, const char *what, json_t *object) {
    _cleanup_error_ Error reason = ERROR_INIT;
    if (name_check(what, node->key, &reason) < 0)
        return yaml_refuse(file, node, &reason);
    json_object_set_new(object, "name", json_string(node->key));
    return 0;
}

static int read_network(YamlReading *file, const YamlNode *node, json_t *array) {
    json_t *network = yaml_append_object(array);
    int r = read_name(file, node, "network", network);
    if (r < 0)
        return r;
    if (str_equal(node->key, "user") || str_equal(node->key, "none"))
        return yaml_tree_error(&file->tree, node, file->error,
                               "a network cannot be called %s: that name has a meaning", node->key);
    if (node->kind == YAML_TREE_SCALAR && !node->quoted && node->text[0] == '\0')
        return 0; /* "NAME:" alone: all as it is by default */
    r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    return r < 0 ? r : yaml_read_members(file, node, network_keys, network);
}

static int join_only_network(YamlReading *file, const YamlNode *node, json_t *vm) {
    const YamlNode *first = lab_of(file)->networks ? lab_of(file)->networks->first : NULL;
    if (first && first->next)
        return yaml_tree_error(&file->tree, node, file->error,
                               "%s does not say in which networks it is", node->key);
    json_object_set_new(vm, "networks", json_pack("[s]", first ? first->key : DEFAULT_NETWORK));
    return 0;
}

static int read_vm(YamlReading *file, const YamlNode *node, json_t *array) {
    json_t *vm = yaml_append_object(array);
    int r = read_name(file, node, "VM", vm);
    if (r >= 0)
        r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    if (r >= 0)
        r = yaml_read_members(file, node, vm_keys, vm);
    if (r < 0)
        return r;
    if (!json_object_get(vm, "image"))
        return yaml_tree_error(&file->tree, node, file->error, "%s has no image", node->key);
    return json_object_get(vm, "networks") ? 0 : join_only_network(file, node, vm);
}

static int read_lab(YamlReading *file, json_t *request) {
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
    lab_of(file)->networks = yaml_tree_member(root, "networks");
    if (lab_of(file)->networks && !lab_of(file)->networks->first)
        return yaml_tree_error(&file->tree, lab_of(file)->networks, file->error,
                               "there are no networks");
    vms = yaml_tree_member(root, "vms");
    if (!vms || !vms->first)
        return yaml_tree_error(&file->tree, vms ? vms : root, file->error, "there are no vms");
    if (lab_of(file)->networks)
        r = yaml_read_items(file, lab_of(file)->networks, YAML_TREE_MAPPING, request, "networks",
                            read_network);
    else
        json_object_set_new(request, "networks", json_pack("[{s:s}]", "name", DEFAULT_NETWORK));
    return r < 0 ? r : yaml_read_items(file, vms, YAML_TREE_MAPPING, request, "vms", read_vm);
}

int lab_file_parse(const char *name, const char *text, size_t size, json_t **request,
                   Error *error) {
    _cleanup_json_ json_t *ports = json_array();
    LabFile lab = {.ports = ports};
    YamlReading file = {.error = error, .data = &lab};
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
