/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/recipe_file.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "cli/yaml_read.h"

#define STEPS_MAX 200

/* ---- values ---- */

static int read_network(YamlReading *file, const YamlNode *node, json_t *object,
                        const char *member) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0 && !str_equal(node->text, "user") && !str_equal(node->text, "none"))
        r = yaml_tree_error(&file->tree, node, file->error,
                            "network: \"%.40s\" is neither user nor none", node->text);
    return r < 0 ? r : yaml_read_text(file, node, object, member);
}

static int read_line(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0 && node->text[strspn(node->text, " \t\n")] == '\0')
        r = yaml_tree_error(&file->tree, node, file->error, "%s: it is empty", node->key);
    return r < 0 ? r : yaml_read_text(file, node, object, member);
}

static int read_word(YamlReading *file, const YamlNode *node, json_t *array) {
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_SCALAR, file->error);
    if (r >= 0)
        json_array_append_new(array, json_string(node->text));
    return r;
}

/* [PROGRAM, ARGUMENT…], or a line for the shell. */
static int read_program(YamlReading *file, const YamlNode *node, json_t *object,
                        const char *member) {
    int r;
    if (node->kind == YAML_TREE_LIST && node->first)
        return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_word);
    r = yaml_read_scalar(file, node);
    if (r >= 0)
        json_object_set_new(object, member, json_pack("[s, s, s]", "/bin/sh", "-c", node->text));
    return r;
}

static int read_port(YamlReading *file, const YamlNode *node, json_t *array) {
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    size_t digits = strspn(node->text, "0123456789");
    _cleanup_free_ char *number = str_format("%.*s", (int)digits, node->text);
    const char *rest = node->text + digits;
    uint64_t port = 0;
    if (parse_u64(number, UINT16_MAX, &port) < 0 || port < 1 ||
        (*rest && !str_equal(rest, "/tcp") && !str_equal(rest, "/udp")))
        return yaml_tree_error(&file->tree, node, file->error,
                               "\"%.40s\" is no port, such as 80 or 53/udp", node->text);
    json_array_append_new(array, json_string(node->text));
    return 0;
}

static int read_ports(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_port);
}

/* As apt, apk and dnf have them, and nothing that they take for an option. */
static bool is_package(const char *text) {
    static const char *const known = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789+._:=~-";
    return *text && !strchr("-+._:=~", *text) && text[strspn(text, known)] == '\0';
}

static int read_package(YamlReading *file, const YamlNode *node, json_t *array) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0 && !is_package(node->text))
        r = yaml_tree_error(&file->tree, node, file->error, "\"%.64s\" is no name of a package",
                            node->text);
    if (r >= 0)
        json_array_append_new(array, json_string(node->text));
    return r;
}

static int read_packages(YamlReading *file, const YamlNode *node, json_t *object,
                         const char *member) {
    int r = yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_package);
    if (r >= 0 && !node->first)
        r = yaml_tree_error(&file->tree, node, file->error, "packages: there is none");
    return r;
}

static int read_absolute(YamlReading *file, const YamlNode *node, json_t *object,
                         const char *member) {
    int r = yaml_read_scalar(file, node);
    if (r >= 0 && node->text[0] != '/')
        r = yaml_tree_error(&file->tree, node, file->error, "%s: \"%.200s\" is no absolute path",
                            node->key, node->text);
    return r < 0 ? r : yaml_read_text(file, node, object, member);
}

/* ---- steps ---- */

static const YamlKey step_keys[] = {
    {"packages", "packages", read_packages},
    {"copy", "from", yaml_read_text},
    {"to", "path", read_absolute},
    {"run", "command", read_line},
    {"network", "network", read_network},
    {"timeout", "timeout_s", yaml_read_seconds},
    {0},
};

/* What a step does: just one of the three. */
static int find_kind(YamlReading *file, const YamlNode *node, const char **kind) {
    static const char *const kinds[] = {"packages", "copy", "run"};
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!yaml_tree_member(node, kinds[i]))
            continue;
        *kind = kinds[i];
        found++;
    }
    if (found == 1)
        return 0;
    return yaml_tree_error(&file->tree, node, file->error,
                           "a step is one of packages, copy and run, and this one is %s",
                           found ? "several" : "none");
}

static int check_copy(YamlReading *file, const YamlNode *node, bool copies) {
    const YamlNode *to = yaml_tree_member(node, "to");
    if (copies && !to)
        return yaml_tree_error(&file->tree, node, file->error,
                               "copy: it does not say where to (to: PATH)");
    if (!copies && to)
        return yaml_tree_error(&file->tree, to, file->error, "to: only a copy has it");
    return 0;
}

static int read_step(YamlReading *file, const YamlNode *node, json_t *array) {
    const char *kind = NULL;
    int r = yaml_tree_check_kind(&file->tree, node, YAML_TREE_MAPPING, file->error);
    json_t *step = yaml_append_object(array);
    if (r >= 0)
        r = yaml_read_members(file, node, step_keys, step);
    if (r >= 0)
        r = find_kind(file, node, &kind);
    if (r >= 0)
        r = check_copy(file, node, str_equal(kind, "copy"));
    if (r >= 0 && json_array_size(array) > STEPS_MAX)
        r = yaml_tree_error(&file->tree, node, file->error, "there are more than %d steps",
                            STEPS_MAX);
    if (r < 0)
        return r;
    json_object_set_new(step, "kind", json_string(kind));
    json_object_set_new(step, "line", json_integer((json_int_t)node->line));
    return 0;
}

static int read_steps(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_step);
}

/* ---- seeds ---- */

/* DIR:PATH; what is wrong with the path, the daemon says. */
static int read_seed(YamlReading *file, const YamlNode *node, json_t *array) {
    const char *colon = NULL;
    json_t *seed;
    int r = yaml_read_scalar(file, node);
    if (r < 0)
        return r;
    for (const char *at = node->text; (at = strstr(at, ":/")); at++)
        colon = at;
    if (!colon || colon == node->text)
        return yaml_tree_error(&file->tree, node, file->error,
                               "\"%.100s\" is no folder with its place (DIR:PATH), such as "
                               "home:/root",
                               node->text);
    seed = yaml_append_object(array);
    json_object_set_new(seed, "from", json_stringn(node->text, (size_t)(colon - node->text)));
    json_object_set_new(seed, "path", json_string(colon + 1));
    json_object_set_new(seed, "line", json_integer((json_int_t)node->line));
    return 0;
}

/* One, or a list. */
static int read_seeds(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    json_t *list;
    if (node->kind == YAML_TREE_LIST)
        return yaml_read_items(file, node, YAML_TREE_LIST, object, member, read_seed);
    list = json_array();
    json_object_set_new(object, member, list);
    return read_seed(file, node, list);
}

/* ---- the whole ---- */

static int read_ready(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    json_object_set_new(object, "ready_line", json_integer((json_int_t)node->line));
    return read_line(file, node, object, member);
}

static int read_base(YamlReading *file, const YamlNode *node, json_t *object, const char *member) {
    json_object_set_new(object, "base_line", json_integer((json_int_t)node->line));
    return yaml_read_image(file, node, object, member);
}

static const YamlKey keys[] = {
    {"base", "base", read_base},
    {"memory", "memory_bytes", yaml_read_memory},
    {"cpus", "cpus", yaml_read_cpus},
    {"disk", "disk_bytes", yaml_read_disk},
    {"network", "network", read_network},
    {"timeout", "timeout_s", yaml_read_seconds},
    {"env", "env", yaml_read_env},
    {"seed", "seeds", read_seeds},
    {"steps", "steps", read_steps},
    {"user", "user", yaml_read_text},
    {"directory", "directory", read_absolute},
    {"entrypoint", "entrypoint", read_program},
    {"command", "command", read_program},
    {"ports", "ports", read_ports},
    {"snapshot-after", "ready", read_ready},
    {"snapshot-timeout", "ready_timeout_s", yaml_read_seconds},
    {0},
};

static int read_recipe(YamlReading *file, json_t *recipe) {
    const YamlNode *root = file->tree.root, *late;
    int r;
    if (!root)
        return error_set(file->error, ERROR_USAGE, EINVAL, "%s: it is empty", file->tree.name);
    r = yaml_tree_check_kind(&file->tree, root, YAML_TREE_MAPPING, file->error);
    if (r >= 0)
        r = yaml_read_members(file, root, keys, recipe);
    if (r >= 0 && !json_object_get(recipe, "base"))
        r = yaml_tree_error(&file->tree, root, file->error, "it does not say what its base is");
    late = yaml_tree_member(root, "snapshot-timeout");
    if (r >= 0 && late && !json_object_get(recipe, "ready"))
        r = yaml_tree_error(&file->tree, late, file->error,
                            "snapshot-timeout: there is no snapshot-after");
    return r;
}

int recipe_file_parse(const char *name, const char *text, size_t size, json_t **recipe,
                      Error *error) {
    YamlReading file = {.error = error};
    json_t *made;
    int r = yaml_tree_parse(name, text, size, &file.tree, error);
    if (r < 0)
        return r;
    made = json_object();
    r = read_recipe(&file, made);
    yaml_tree_free(&file.tree);
    if (r < 0) {
        json_decref(made);
        return r;
    }
    json_object_set_new(made, "file", json_string(name));
    *recipe = made;
    return 0;
}
