/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/yaml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/str.h"

typedef struct Builder {
    YamlTree *tree;
    yaml_parser_t parser;
    YamlNode *open[YAML_TREE_DEPTH_MAX]; /* the lists and mappings around what comes next */
    size_t depth;
    size_t nodes;
    char *key; /* that was read and has no value yet; owned */
    size_t key_line;
    Error *error;
} Builder;

static void node_free(YamlNode *node) {
    while (node) {
        YamlNode *next = node->next;
        node_free(node->first); /* no deeper than YAML_TREE_DEPTH_MAX */
        free(node->key);
        free(node->text);
        free(node);
        node = next;
    }
}

void yaml_tree_free(YamlTree *tree) {
    node_free(tree->root);
    tree->root = NULL;
}

const YamlNode *yaml_tree_member(const YamlNode *node, const char *key) {
    if (!node || node->kind != YAML_TREE_MAPPING)
        return NULL;
    for (const YamlNode *member = node->first; member; member = member->next)
        if (str_equal(member->key, key))
            return member;
    return NULL;
}

static int error_at(const YamlTree *tree, size_t line, Error *error, const char *message) {
    return error_set(error, ERROR_USAGE, EINVAL, "%s:%zu: %s", tree->name, line, message);
}

int yaml_tree_error(const YamlTree *tree, const YamlNode *node, Error *error, const char *format,
                    ...) {
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *message = str_format_va(format, args);
    va_end(args);
    return error_at(tree, node->line, error, message);
}

int yaml_tree_check_kind(const YamlTree *tree, const YamlNode *node, YamlKind kind, Error *error) {
    static const char *const names[] = {"a single value", "a list", "a mapping (KEY: VALUE)"};
    if (node->kind == kind)
        return 0;
    if (node->key)
        return yaml_tree_error(tree, node, error, "%.64s is %s, not %s", node->key,
                               names[node->kind], names[kind]);
    return yaml_tree_error(tree, node, error, "this is %s, not %s", names[node->kind], names[kind]);
}

static bool is_known(const char *const *known, const char *key) {
    for (size_t i = 0; known[i]; i++)
        if (str_equal(known[i], key))
            return true;
    return false;
}

int yaml_tree_check_keys(const YamlTree *tree, const YamlNode *node, const char *const *known,
                         Error *error) {
    const YamlNode *member = node->first;
    StrBuf list = {0};
    while (member && is_known(known, member->key))
        member = member->next;
    if (!member)
        return 0;
    for (size_t i = 0; known[i]; i++)
        strbuf_add_format(&list, "%s%s", i ? ", " : "", known[i]);
    yaml_tree_error(tree, member, error, "the key %.64s is not known here", member->key);
    error_set_hint(error, "known are: %s", list.data);
    strbuf_free(&list);
    return -EINVAL;
}

/* A line of the parser's counts from 0. */
static int refuse(const Builder *builder, const yaml_mark_t *mark, const char *message) {
    return error_at(builder->tree, mark->line + 1, builder->error, message);
}

static int refuse_memory(const Builder *builder) {
    return error_set(builder->error, ERROR_NO_MEMORY, ENOMEM, "%s: no memory to parse it",
                     builder->tree->name);
}

static int refuse_syntax(const Builder *builder) {
    const yaml_parser_t *parser = &builder->parser;
    const char *problem = parser->problem ? parser->problem : "this is no YAML";
    if (parser->error == YAML_MEMORY_ERROR)
        return refuse_memory(builder);
    if (parser->error != YAML_READER_ERROR)
        return refuse(builder, &parser->problem_mark, problem);
    return error_set(builder->error, ERROR_USAGE, EINVAL, "%s: %s at byte %zu", builder->tree->name,
                     problem, parser->problem_offset);
}

static YamlNode *around(const Builder *builder) {
    return builder->depth > 0 ? builder->open[builder->depth - 1] : NULL;
}

/* In a mapping each second node is a key. */
static bool wants_key(const Builder *builder) {
    const YamlNode *parent = around(builder);
    return parent && parent->kind == YAML_TREE_MAPPING && !builder->key;
}

static int add_node(Builder *builder, YamlKind kind, const yaml_event_t *event, YamlNode **added) {
    YamlNode *parent = around(builder), *node;
    if (++builder->nodes > YAML_TREE_NODES_MAX)
        return refuse(builder, &event->start_mark, "there is too much in this file");
    if (wants_key(builder))
        return refuse(builder, &event->start_mark, "a key must be a single value");
    node = calloc(1, sizeof(*node));
    if (!node)
        return refuse_memory(builder);
    node->kind = kind;
    node->line = builder->key ? builder->key_line : event->start_mark.line + 1;
    node->key = builder->key;
    builder->key = NULL;
    if (!parent)
        builder->tree->root = node;
    else if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    if (parent)
        parent->last = node;
    *added = node;
    return 0;
}

static int open_node(Builder *builder, YamlKind kind, const yaml_event_t *event) {
    YamlNode *node;
    int r;
    if (builder->depth == YAML_TREE_DEPTH_MAX)
        return refuse(builder, &event->start_mark, "this is nested too deep");
    r = add_node(builder, kind, event, &node);
    if (r < 0)
        return r;
    builder->open[builder->depth++] = node;
    return 0;
}

static int take_key(Builder *builder, const yaml_event_t *event) {
    const char *key = (const char *)event->data.scalar.value;
    if (yaml_tree_member(around(builder), key)) {
        _cleanup_free_ char *message = str_format("the key %.64s comes a second time", key);
        return refuse(builder, &event->start_mark, message);
    }
    builder->key = str_copy(key);
    builder->key_line = event->start_mark.line + 1;
    return 0;
}

static int take_scalar(Builder *builder, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    YamlNode *node;
    int r;
    if (strlen(text) != event->data.scalar.length)
        return refuse(builder, &event->start_mark, "there is a NUL in this value");
    if (event->data.scalar.anchor || event->data.scalar.tag)
        return refuse(builder, &event->start_mark, "anchors and tags are not known here");
    if (wants_key(builder))
        return take_key(builder, event);
    r = add_node(builder, YAML_TREE_SCALAR, event, &node);
    if (r < 0)
        return r;
    node->text = str_copy(text);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static int take_event(Builder *builder, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        if (event->data.sequence_start.anchor || event->data.sequence_start.tag)
            return refuse(builder, &event->start_mark, "anchors and tags are not known here");
        return open_node(builder, YAML_TREE_LIST, event);
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor || event->data.mapping_start.tag)
            return refuse(builder, &event->start_mark, "anchors and tags are not known here");
        return open_node(builder, YAML_TREE_MAPPING, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse(builder, &event->start_mark, "aliases are not known here");
    case YAML_DOCUMENT_START_EVENT:
        if (builder->nodes > 0)
            return refuse(builder, &event->start_mark, "a second document begins here");
        return 0;
    default:
        return 0;
    }
}

static int take_events(Builder *builder) {
    bool end = false;
    int r = 0;
    while (!end && r >= 0) {
        yaml_event_t event;
        if (!yaml_parser_parse(&builder->parser, &event))
            return refuse_syntax(builder);
        r = take_event(builder, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    return r;
}

int yaml_tree_parse(const char *name, const char *text, size_t size, YamlTree *tree, Error *error) {
    Builder builder = {.tree = tree, .error = error};
    int r;
    *tree = (YamlTree){.name = name};
    if (size > YAML_TREE_BYTES_MAX)
        return error_set(error, ERROR_USAGE, E2BIG, "%s: it is larger than %d KiB", name,
                         YAML_TREE_BYTES_MAX / 1024);
    if (!yaml_parser_initialize(&builder.parser))
        return refuse_memory(&builder);
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder.parser, (const unsigned char *)text, size);
    r = take_events(&builder);
    yaml_parser_delete(&builder.parser);
    free(builder.key);
    if (r < 0)
        yaml_tree_free(tree);
    return r;
}
