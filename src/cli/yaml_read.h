/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_YAML_READ_H
#define RAMET_CLI_YAML_READ_H

/* What the nodes of a file in YAML mean, as members of a request: labs and recipes are read with
 * it. All return 0, or ERROR_USAGE "NAME:LINE: …". */

#include "base/json.h"
#include "cli/yaml_tree.h"

typedef struct YamlReading {
    YamlTree tree;
    Error *error; /* borrowed */
    void *data;   /* borrowed: of who reads */
} YamlReading;

/* A key, and what its value adds to an object of the request. A table of them ends with a NULL
 * name. */
#define YAML_KEYS_MAX 32
typedef struct YamlKey {
    const char *name, *member;
    int (*read)(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
} YamlKey;

/* One item of a list or member of a mapping, appended to an array. */
typedef int (*YamlReadItem)(YamlReading *file, const YamlNode *node, json_t *array);

/* Refuses a node: `reason`, which is taken, says what is wrong with its value. */
int yaml_refuse(YamlReading *file, const YamlNode *node, Error *reason);

/* It is a single value, and not an empty one. */
int yaml_read_scalar(YamlReading *file, const YamlNode *node);

/* Readers of values for tables. cpus: 1 to 64; seconds: up to a day; env: a mapping, to a list of
 * "K=V"; size: "512M", to bytes. */
int yaml_read_text(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_image(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_memory(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_disk(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_cpus(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_seconds(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_bool(YamlReading *file, const YamlNode *node, json_t *object, const char *member);
int yaml_read_env(YamlReading *file, const YamlNode *node, json_t *object, const char *member);

/* A list or a mapping, item by item, to an array. */
int yaml_read_items(YamlReading *file, const YamlNode *node, YamlKind kind, json_t *object,
                    const char *member, YamlReadItem read);

/* The members of a mapping by a table; those that it does not have are refused. */
int yaml_read_members(YamlReading *file, const YamlNode *node, const YamlKey *keys, json_t *object);

/* A new object at the end of an array, which owns it. */
json_t *yaml_append_object(json_t *array);

#endif
