/* SPDX-License-Identifier: Apache-2.0 */
/* Two layers over each other; the first two bytes tell where the second begins. What comes of it
 * must be a tree. */
#include <string.h>

#include "disk/layers/layer_apply.h"
#include "disk/layers/tree_path.h"

typedef struct Bytes {
    const uint8_t *data;
    size_t size;
} Bytes;

static ssize_t read_bytes(void *data, const void **bytes, Error *error) {
    Bytes *left = data;
    size_t size = left->size;
    (void)error;
    *bytes = left->data;
    left->size = 0;
    return (ssize_t)size;
}

static void apply(LayerApply *layers, Bytes bytes) {
    _cleanup_(tar_reader_close) TarReader reader = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    layers->number++;
    if (tar_reader_open_with(&reader, read_bytes, &bytes, &error) >= 0)
        (void)layer_apply(layers, &reader, &error);
}

static void check(const Tree *tree) {
    size_t count = 0;
    for (const TreeNode *node = tree_next(tree->root); node; node = tree_next(node), count++) {
        if (node->depth != node->parent->depth + 1 || !tree_is_folder(node->parent) ||
            node->file->references == 0 || strchr(node->name, '/') ||
            strcmp(node->name, "..") == 0 || strcmp(node->name, ".") == 0 || !*node->name ||
            tree_child(tree, node->parent, node->name, strlen(node->name)) != node)
            abort();
    }
    if (count != tree->n_nodes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Tree tree;
    LayerApply layers = {.tree = &tree, .max_entries = 10000, .max_bytes = 16 * MIB};
    size_t first;
    if (size < 2)
        return 0;
    first = (size_t)(data[0] | data[1] << 8) * 512;
    data += 2;
    size -= 2;
    first = first < size ? first : size;
    tree_init(&tree, 16 * MIB);
    apply(&layers, (Bytes){data, first});
    apply(&layers, (Bytes){data + first, size - first});
    (void)tree_make_folder(&tree, "a/b", 0755, 3, NULL);
    check(&tree);
    tree_free(&tree);
    return 0;
}
