/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_YAML_TREE_H
#define RAMET_CLI_YAML_TREE_H

/* A file in YAML as a tree whose nodes know their place, so that an error can name the line.
 *
 * Of YAML 1.1 (https://yaml.org/spec/1.1/) it takes one document of plain, quoted and block
 * scalars, lists and mappings. Anchors, aliases and tags are refused, as are keys that come twice:
 * nothing that is described so needs them, and an alias can make a small file a huge tree. */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define YAML_TREE_BYTES_MAX (1 << 20)
#define YAML_TREE_DEPTH_MAX 32
#define YAML_TREE_NODES_MAX 65536

typedef enum { YAML_TREE_SCALAR, YAML_TREE_LIST, YAML_TREE_MAPPING } YamlKind;

typedef struct YamlNode YamlNode;
struct YamlNode {
    YamlKind kind;
    bool quoted;            /* a scalar that is text whatever it looks like */
    size_t line;            /* from 1: of the key for a member of a mapping, else of the value */
    char *key;              /* of a member; NULL elsewhere */
    char *text;             /* of a scalar: UTF-8 without NUL; else NULL */
    YamlNode *next;         /* the next item or member */
    YamlNode *first, *last; /* items or members, in the order of the file */
};

typedef struct YamlTree {
    const char *name; /* of the file, for messages; the caller's */
    YamlNode *root;   /* NULL: the file is empty */
} YamlTree;

/* Parses a text that need not end with NUL. ERROR_USAGE "NAME:LINE: …" when it is no such YAML, or
 * beyond the bounds above. The tree must be freed. */
int yaml_tree_parse(const char *name, const char *text, size_t size, YamlTree *tree, Error *error);

void yaml_tree_free(YamlTree *tree);
#define _cleanup_yaml_tree_ _cleanup_(yaml_tree_free)

/* The member of that name; NULL when there is none, or when the node is NULL or no mapping. */
const YamlNode *yaml_tree_member(const YamlNode *node, const char *key);

/* Sets ERROR_USAGE "NAME:LINE: …" and returns its negative errno. */
int yaml_tree_error(const YamlTree *tree, const YamlNode *node, Error *error, const char *format,
                    ...) PRINTF_LIKE(4, 5);

/* ERROR_USAGE unless the node is of that kind. */
int yaml_tree_check_kind(const YamlTree *tree, const YamlNode *node, YamlKind kind, Error *error);

/* ERROR_USAGE for the first member whose name is not in the list, which ends with NULL; the hint
 * names those that are. The node must be a mapping. */
int yaml_tree_check_keys(const YamlTree *tree, const YamlNode *node, const char *const *known,
                         Error *error);

#endif
