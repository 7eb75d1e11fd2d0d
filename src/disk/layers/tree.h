/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_TREE_H
#define RAMET_DISK_LAYERS_TREE_H

/* A file system's names in memory, while layers are laid over each other. A name (TreeNode) belongs
 * to a file (TreeFile), as in Linux several may do; the content of files is not here. Nothing of it
 * touches a file system, so no name, link or ".." can lead out of it. */

#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"

#define TREE_NAME_MAX 255
#define TREE_PATH_MAX 4095
#define TREE_DEPTH_MAX 256

/* Blocks of 4 KiB that follow each other, in the file (logical) and on the disk (physical). */
typedef struct TreeExtent {
    uint64_t physical;
    uint32_t logical, length;
} TreeExtent;

typedef struct TreeAttribute {
    struct TreeAttribute *next;
    char *key; /* owned */
    size_t size;
    uint8_t value[];
} TreeAttribute;

typedef struct TreeFile {
    uint32_t references; /* names; in the end also the link count of what is no folder */
    uint32_t number;     /* of its inode; 0: none yet */
    mode_t mode;         /* with the type */
    uint32_t uid, gid;
    uint32_t changed_nsec;
    int64_t changed_sec;
    dev_t device;
    uint64_t size;             /* of a regular file */
    char *target;              /* owned: of a symbolic link */
    TreeExtent *extents;       /* owned; whoever allocated them frees the blocks: Tree.release */
    TreeAttribute *attributes; /* owned */
    uint32_t n_extents;
} TreeFile;

typedef struct TreeNode {
    struct TreeNode *parent, *previous, *next, *first, *last, *chained;
    TreeFile *file; /* one of its references */
    uint32_t hash;
    uint16_t layer; /* that named it last */
    uint16_t depth;
    char name[];
} TreeNode;

typedef struct Tree {
    TreeNode *root;
    TreeNode **buckets; /* owned */
    size_t n_buckets, n_nodes;
    uint64_t seed;             /* of the hash, so that nobody can choose names that collide */
    uint64_t bytes, max_bytes; /* of memory */
    void (*release)(void *data, TreeFile *file); /* before a file goes; may be NULL */
    void *data;
} Tree;

/* A tree with an empty root folder (0755, root's). max_bytes bounds what it takes of memory. */
void tree_init(Tree *tree, uint64_t max_bytes);
void tree_free(Tree *tree); /* without calling release */

/* A file with no name yet and no references; aborts when out of memory. The caller's until a node
 * gets it. */
TreeFile *tree_file_new(mode_t mode);
void tree_file_free(TreeFile *file); /* NULL is fine */
DEFINE_CLEANUP(TreeFile *, tree_file_free);

/* Adds an attribute, or replaces the one of that key. ERROR_CORRUPT when the memory's bound is
 * reached. */
int tree_file_attribute(Tree *tree, TreeFile *file, const char *key, const void *value, size_t size,
                        Error *error);
void tree_file_drop_attributes(TreeFile *file);

/* The child of that name, or NULL. */
TreeNode *tree_child(const Tree *tree, const TreeNode *parent, const char *name, size_t length);

/* Adds a name that is not there yet, and gives the file one more reference. ERROR_CORRUPT: it is
 * too long, too deep, or there are too many. */
int tree_add(Tree *tree, TreeNode *parent, const char *name, size_t length, TreeFile *file,
             unsigned layer, TreeNode **node, Error *error);

/* Removes a name and all below it. */
void tree_remove(Tree *tree, TreeNode *node);

/* Removes what is below a node, except what `layer` itself named and the folders that lead there.
 */
void tree_hide_lower(Tree *tree, TreeNode *node, unsigned layer);

static inline bool tree_is_folder(const TreeNode *node) {
    return (node->file->mode & S_IFMT) == S_IFDIR;
}

/* The next node in the order of names within folders, each folder before what it holds; NULL after
 * the last. Begins with the root. */
TreeNode *tree_next(const TreeNode *node);

#endif
