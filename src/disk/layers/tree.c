/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layers/tree.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/str.h"

#define BUCKETS_MIN ((size_t)1 << 12)

static void *need(void *memory) {
    if (!memory)
        abort();
    return memory;
}

/* ---- files ---- */

TreeFile *tree_file_new(mode_t mode) {
    TreeFile *file = need(calloc(1, sizeof(*file)));
    file->mode = mode;
    return file;
}

void tree_file_drop_attributes(TreeFile *file) {
    while (file->attributes) {
        TreeAttribute *attribute = file->attributes;
        file->attributes = attribute->next;
        free(attribute->key);
        free(attribute);
    }
}

void tree_file_free(TreeFile *file) {
    if (!file)
        return;
    tree_file_drop_attributes(file);
    free(file->target);
    free(file->extents);
    free(file);
}

static int take_memory(Tree *tree, size_t bytes, Error *error) {
    if (tree->bytes + bytes <= tree->max_bytes) {
        tree->bytes += bytes;
        return 0;
    }
    error_set(error, ERROR_CORRUPT, E2BIG, "more names and attributes than are allowed in all");
    error_set_hint(error, "is it an archive bomb?");
    return -E2BIG;
}

int tree_file_attribute(Tree *tree, TreeFile *file, const char *key, const void *value, size_t size,
                        Error *error) {
    TreeAttribute **place = &file->attributes, *made;
    int r = take_memory(tree, sizeof(*made) + strlen(key) + size, error);
    if (r < 0)
        return r;
    while (*place && !str_equal((*place)->key, key))
        place = &(*place)->next;
    made = need(malloc(sizeof(*made) + size));
    *made = (TreeAttribute){.key = str_copy(key), .size = size};
    if (size > 0)
        memcpy(made->value, value, size);
    if (*place) {
        TreeAttribute *old = *place;
        made->next = old->next;
        free(old->key);
        free(old);
    }
    *place = made;
    return 0;
}

/* ---- names ---- */

/* FNV-1a. */
static uint32_t hash_name(const Tree *tree, const TreeNode *parent, const char *name,
                          size_t length) {
    uint64_t hash = tree->seed ^ (uint64_t)(uintptr_t)parent;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3;
    return (uint32_t)(hash ^ hash >> 32);
}

void tree_init(Tree *tree, uint64_t max_bytes) {
    *tree = (Tree){.n_buckets = BUCKETS_MIN, .max_bytes = max_bytes};
    random_bytes(&tree->seed, sizeof(tree->seed));
    tree->buckets = need(calloc(tree->n_buckets, sizeof(void *)));
    tree->root = need(calloc(1, sizeof(TreeNode) + 1));
    tree->root->file = tree_file_new(S_IFDIR | 0755);
    tree->root->file->references = 1;
}

static void grow(Tree *tree) {
    size_t n = tree->n_buckets * 4;
    TreeNode **buckets = need(calloc(n, sizeof(void *)));
    for (size_t i = 0; i < tree->n_buckets; i++)
        while (tree->buckets[i]) {
            TreeNode *node = tree->buckets[i];
            tree->buckets[i] = node->chained;
            node->chained = buckets[node->hash % n];
            buckets[node->hash % n] = node;
        }
    free(tree->buckets);
    tree->buckets = buckets;
    tree->n_buckets = n;
}

TreeNode *tree_child(const Tree *tree, const TreeNode *parent, const char *name, size_t length) {
    uint32_t hash = hash_name(tree, parent, name, length);
    for (TreeNode *node = tree->buckets[hash % tree->n_buckets]; node; node = node->chained)
        if (node->hash == hash && node->parent == parent && strlen(node->name) == length &&
            memcmp(node->name, name, length) == 0)
            return node;
    return NULL;
}

static void link_node(Tree *tree, TreeNode *parent, TreeNode *node) {
    node->parent = parent;
    node->previous = parent->last;
    *(parent->last ? &parent->last->next : &parent->first) = node;
    parent->last = node;
    if (tree->n_nodes++ > tree->n_buckets)
        grow(tree);
    node->chained = tree->buckets[node->hash % tree->n_buckets];
    tree->buckets[node->hash % tree->n_buckets] = node;
}

int tree_add(Tree *tree, TreeNode *parent, const char *name, size_t length, TreeFile *file,
             unsigned layer, TreeNode **node, Error *error) {
    TreeNode *made;
    int r;
    if (length > TREE_NAME_MAX)
        return error_set(error, ERROR_CORRUPT, ENAMETOOLONG, "a name of more than %d bytes",
                         TREE_NAME_MAX);
    if (parent->depth >= TREE_DEPTH_MAX)
        return error_set(error, ERROR_CORRUPT, ELOOP, "folders nested deeper than %d",
                         TREE_DEPTH_MAX);
    r = take_memory(tree, sizeof(*made) + length + 1 + sizeof(*file), error);
    if (r < 0)
        return r;
    made = need(malloc(sizeof(*made) + length + 1));
    *made = (TreeNode){.file = file,
                       .hash = hash_name(tree, parent, name, length),
                       .layer = (uint16_t)layer,
                       .depth = (uint16_t)(parent->depth + 1)};
    memcpy(made->name, name, length);
    made->name[length] = '\0';
    file->references++;
    link_node(tree, parent, made);
    if (node)
        *node = made;
    return 0;
}

static void unlink_node(Tree *tree, TreeNode *node) {
    TreeNode **place = &tree->buckets[node->hash % tree->n_buckets];
    while (*place != node)
        place = &(*place)->chained;
    *place = node->chained;
    *(node->previous ? &node->previous->next : &node->parent->first) = node->next;
    *(node->next ? &node->next->previous : &node->parent->last) = node->previous;
    tree->n_nodes--;
}

static void free_node(Tree *tree, TreeNode *node) {
    TreeFile *file = node->file;
    tree->bytes -= MIN_OF(tree->bytes, sizeof(*node) + strlen(node->name) + 1 + sizeof(*file));
    if (--file->references == 0) {
        if (tree->release)
            tree->release(tree->data, file);
        tree_file_free(file);
    }
    free(node);
}

/* Folders are not nested deeper than TREE_DEPTH_MAX, so this recursion ends soon, and so does the
 * next. */
void tree_remove(Tree *tree, TreeNode *node) {
    while (node->first)
        tree_remove(tree, node->first);
    unlink_node(tree, node);
    free_node(tree, node);
}

void tree_hide_lower(Tree *tree, TreeNode *node, unsigned layer) {
    for (TreeNode *child = node->first, *next; child; child = next) {
        next = child->next;
        tree_hide_lower(tree, child, layer);
        if (child->layer < layer && !child->first)
            tree_remove(tree, child);
    }
}

TreeNode *tree_next(const TreeNode *node) {
    if (node->first)
        return node->first;
    while (node && !node->next)
        node = node->parent;
    return node ? node->next : NULL;
}

void tree_free(Tree *tree) {
    tree->release = NULL;
    if (!tree->root)
        return;
    while (tree->root->first)
        tree_remove(tree, tree->root->first);
    free_node(tree, tree->root);
    free(tree->buckets);
    *tree = (Tree){0};
}
