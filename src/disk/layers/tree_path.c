/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layers/tree_path.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"

#define LINKS_MAX 40 /* as the kernel's MAXSYMLINKS */
#define WALK_BYTES_MAX ((size_t)64 << 10)

static int refuse(Error *error, const char *why) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "%s", why);
}

int tree_clean_path(const char *path, char **clean, Error *error) {
    StrBuf buffer = {0};
    size_t length;
    if (!path || strlen(path) > TREE_PATH_MAX)
        return refuse(error, "name too long, or none");
    for (const char *p = path; *p; p += length) {
        length = strcspn(p, "/");
        if (length == 2 && strncmp(p, "..", 2) == 0) {
            strbuf_free(&buffer);
            return refuse(error, "\"..\" in the name leads out of the root");
        }
        if (length > 0 && !(length == 1 && *p == '.')) {
            if (buffer.size > 0)
                strbuf_add(&buffer, "/", 1);
            strbuf_add(&buffer, p, length);
        }
        length += p[length] == '/';
    }
    *clean = strbuf_steal(&buffer);
    return 0;
}

typedef struct Walk {
    Tree *tree;
    TreeNode *at;
    char *rest; /* owned: still to go */
    unsigned links, layer;
    bool make;
    int64_t changed_sec;
} Walk;

static int follow(Walk *walk, const TreeNode *link, const char *rest, Error *error) {
    char *joined;
    if (++walk->links > LINKS_MAX)
        return refuse(error, "too many symbolic links on the way");
    joined = str_format("%s/%s", link->file->target, rest);
    if (strlen(joined) > WALK_BYTES_MAX) {
        free(joined);
        return refuse(error, "symbolic links on the way are too long");
    }
    walk->at = joined[0] == '/' ? walk->tree->root : link->parent;
    free(walk->rest);
    walk->rest = joined;
    return 1;
}

static int make_folder(Walk *walk, const char *name, size_t length, TreeNode **node, Error *error) {
    TreeFile *file = tree_file_new(S_IFDIR | 0755);
    int r;
    file->changed_sec = walk->changed_sec;
    r = tree_add(walk->tree, walk->at, name, length, file, walk->layer, node, error);
    if (r < 0)
        tree_file_free(file);
    return r;
}

/* One part of the way: 1, 0 when it is absent, or an error. */
static int step(Walk *walk, const char *name, size_t length, const char *rest, Error *error) {
    TreeNode *node;
    int r;
    if (length == 2 && strncmp(name, "..", 2) == 0) { /* of a symbolic link */
        walk->at = walk->at->parent ? walk->at->parent : walk->at;
        return 1;
    }
    node = tree_child(walk->tree, walk->at, name, length);
    if (!node && !walk->make)
        return 0;
    r = node ? 0 : make_folder(walk, name, length, &node, error);
    if (r < 0)
        return r;
    if (S_ISLNK(node->file->mode))
        return follow(walk, node, rest, error);
    if (!tree_is_folder(node)) /* below it there is nothing, and nothing can be made */
        return walk->make ? refuse(error, "something on the way is no folder") : 0;
    walk->at = node;
    return 1;
}

/* Follows all of walk->rest. */
static int walk_all(Walk *walk, Error *error) {
    char *p = walk->rest;
    int r = 1;
    while (r > 0 && *p) {
        const char *before = walk->rest;
        size_t length = strcspn(p, "/");
        char *rest = p + length + (p[length] == '/');
        if (length > 0 && !(length == 1 && *p == '.'))
            r = step(walk, p, length, rest, error);
        p = walk->rest == before ? rest : walk->rest;
    }
    return r;
}

int tree_find_place(Tree *tree, const char *path, unsigned layer, bool make, int64_t changed_sec,
                    TreePlace *place, Error *error) {
    const char *slash = strrchr(path, '/');
    Walk walk = {.tree = tree,
                 .at = tree->root,
                 .rest = slash ? strndup(path, (size_t)(slash - path)) : str_copy(""),
                 .layer = layer,
                 .make = make,
                 .changed_sec = changed_sec};
    int r;
    if (!walk.rest)
        abort();
    r = walk_all(&walk, error);
    free(walk.rest);
    if (r > 0)
        *place = (TreePlace){walk.at, slash ? slash + 1 : path};
    return r;
}

int tree_find(Tree *tree, const char *path, TreeNode **node, Error *error) {
    TreePlace place;
    int r = *path ? tree_find_place(tree, path, 0, false, 0, &place, error) : 1;
    if (r > 0)
        *node = *path ? tree_child(tree, place.parent, place.name, strlen(place.name)) : tree->root;
    return r > 0 ? *node != NULL : r;
}

int tree_make_folder(Tree *tree, const char *path, mode_t mode, unsigned layer, Error *error) {
    size_t before = tree->n_nodes;
    Walk walk = {
        .tree = tree, .at = tree->root, .rest = str_copy(path), .layer = layer, .make = true};
    int r = walk_all(&walk, error);
    free(walk.rest);
    if (r > 0 && tree->n_nodes > before)
        walk.at->file->mode = S_IFDIR | mode;
    return MIN_OF(r, 0);
}
